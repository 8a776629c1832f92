"""Gateways as a fleet: settings in layers, sent until they are applied; questions to them; updates; the funnel."""

__all__ = [
    "funnel",
    "layers",
    "prepared",
    "questions",
    "reports",
    "rollout",
    "sender",
    "standing",
    "updates",
]
