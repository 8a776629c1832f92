"""Readings not yet receipted, in one SQLite file that survives power cuts."""

__all__ = ["proof", "queue", "record", "salvage", "status"]
