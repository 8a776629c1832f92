"""Incidents: one cause, one or many flags, one owner; opened and closed by evidence, worked by people."""

__all__ = [
    "causes",
    "contacts",
    "follow",
    "incident",
    "queries",
    "risk",
    "settle",
    "symptoms",
    "tables",
    "windows",
    "work",
]
