"""Random visits whose draw anybody can redo, and what inspectors saw."""

__all__ = ["draw", "records", "visit_lists"]
