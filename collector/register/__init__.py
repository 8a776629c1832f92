"""The register of centers and their opening hours."""

__all__ = ["centers", "opening_hours", "opening_text"]
