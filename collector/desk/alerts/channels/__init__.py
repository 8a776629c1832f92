"""Channels that programs read, each by the scheme of its URL."""

__all__ = ["schemes"]
