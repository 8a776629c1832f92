"""Incidents: one cause, one or many flags, one owner; opened and closed by evidence, worked by people, routed, told."""

__all__ = [
    "alerts",
    "causes",
    "files",
    "follow",
    "groups",
    "incident",
    "risk",
    "routing",
    "settle",
    "symptoms",
    "tables",
    "view",
    "windows",
    "work",
]
