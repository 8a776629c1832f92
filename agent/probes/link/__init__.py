"""The link probe: loss, latency and the place of a fault on the path out."""

__all__ = ["interfaces", "ping", "route"]
