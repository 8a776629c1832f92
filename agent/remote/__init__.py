"""What the collector sets on a gateway: which keys it may, a document of theirs on trial, and its return."""

__all__ = ["settings", "trial", "watch"]
