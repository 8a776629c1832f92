"""Routing: which persons are sent which event of an incident, when, by which channel, and why."""

__all__ = ["decide", "directory", "due", "facts", "plans", "recipients", "rota", "routes", "tables"]
