"""The processes: `serve` and what it starts, watches and stops."""

__all__ = ["pilot", "sdnotify", "service", "upgrades"]
