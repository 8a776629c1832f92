"""Jobs that one process does at a time, on any machine, some of them in shards: who has which, and how they go."""

__all__ = ["leases", "rows", "shards", "workers"]
