"""Judges fresh readings, silence and servers' records inside the caller's transaction."""

__all__ = ["clock", "current", "engines", "evaluate", "server_check", "shared_seats", "silence"]
