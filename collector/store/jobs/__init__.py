"""Jobs that one process does at a time, on any machine: who has which, and how they go."""

__all__ = ["leases", "rows"]
