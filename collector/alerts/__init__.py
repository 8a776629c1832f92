"""Telling people: each change of a flag that matters becomes one message on each channel, sent once."""

__all__ = ["channel", "outbox"]
