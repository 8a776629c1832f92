"""What the line itself says: counters of interfaces and routers, and which line carries the center."""

__all__ = ["counters", "idle_check", "router", "wan"]
