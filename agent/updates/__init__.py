"""Releases that a gateway may take: from a repository of The Update Framework, in rings, in the night."""

__all__ = ["offers", "repository", "take", "watch"]
