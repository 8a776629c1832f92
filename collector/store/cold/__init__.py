"""Readings and batches of past days in files: how they lie there, and readers that see them beside the tables."""

__all__ = ["batches", "held", "parts", "signed_bytes"]
