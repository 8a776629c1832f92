"""Speed tests at measurement servers: requests, places, and the tasks that admit a gateway."""

__all__ = ["policy", "requests", "scheduler", "servers", "unused_tests"]
