"""Readings and batches of past days in files, of a folder or an object store: how they lie there, and readers that see
them beside the tables."""

__all__ = ["batches", "bucket", "held", "parts", "signed_bytes"]
