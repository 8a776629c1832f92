"""Incidents: one cause, one or many flags, one owner; opened and closed by evidence, worked by people, routed, told."""

__all__ = [
    "alerts",
    "causes",
    "contacts",
    "follow",
    "groups",
    "incident",
    "queries",
    "risk",
    "routing",
    "settle",
    "symptoms",
    "tables",
    "windows",
    "work",
]
