"""What the collector sets on a gateway or orders of it: which keys it may, a document of theirs on trial, a fetch."""

__all__ = ["bulk_fetch", "settings", "trial", "watch"]
