"""The processes: `serve` and what it starts, watches and stops."""

__all__ = ["lock", "pilot", "sdnotify", "service", "tasks", "upgrades"]
