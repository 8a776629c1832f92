"""The register of centers and their opening hours."""

__all__ = ["centers", "dated", "opening_hours", "opening_text"]
