"""Readings not yet receipted, in one SQLite file that survives power cuts."""

__all__ = ["queue", "record", "salvage", "status"]
