"""Finds out why a gateway does not work."""

__all__ = ["doctor", "questions", "recent", "redact"]
