"""Runs on each seat PC: measures the machine, never the person, and tells the center's gateway."""

__all__ = ["identity", "keys", "snapshot"]
