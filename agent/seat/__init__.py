"""Runs on each seat PC: measures the machine, never the person, and reports to the center's gateway."""

__all__ = ["identity", "keys", "sensors", "snapshot"]
