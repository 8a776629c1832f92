"""The session with the broker: a client that takes what came at once, and the subscriber that pauses, acknowledges and
publishes receipts by it."""

__all__ = ["subscriber"]
