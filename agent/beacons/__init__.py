"""The second path: a few signed bytes that say "alive" while the line to the collector is down."""

__all__ = ["sender", "text"]
