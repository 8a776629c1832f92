"""Settings of gateways that are made here: layers in versions, what holds for a center, sent until it is applied."""

__all__ = ["layers", "questions", "reports", "sender", "standing"]
