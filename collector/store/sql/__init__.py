"""What the two databases do each in their own way: connections, statements for many rows, turns of writers."""

__all__ = ["engines", "fair_lock", "statements"]
