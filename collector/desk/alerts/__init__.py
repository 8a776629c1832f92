"""Telling people: each event of an incident that matters becomes one message on each channel, sent once."""

__all__ = ["answers", "breaker", "channel", "channels", "digest", "links", "lists", "outbox", "queue"]
