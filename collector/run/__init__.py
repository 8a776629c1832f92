"""The processes: `serve` and what it starts, watches and stops."""

__all__ = ["listeners", "lock", "pilot", "sdnotify", "service", "settings", "tasks", "upgrades", "upkeep"]
