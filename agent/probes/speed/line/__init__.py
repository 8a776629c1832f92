"""What the line itself shows: counters of interfaces and routers, and which line carries the center."""

__all__ = ["counters", "idle_check", "machine", "router", "wan"]
