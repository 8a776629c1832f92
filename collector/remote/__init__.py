"""Gateways as a fleet: settings in layers, sent until they are applied; questions to them; how far all of them are."""

__all__ = ["funnel", "layers", "prepared", "questions", "reports", "sender", "standing"]
