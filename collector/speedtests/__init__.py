"""Speed tests at measurement servers: requests, places, and the tasks that admit a gateway."""

__all__ = ["drawn", "fetches", "policy", "requests", "scheduler", "servers", "unused_tests"]
