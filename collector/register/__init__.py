"""The register of centers and their opening hours."""

__all__ = ["centers", "dated", "networks", "opening_hours", "opening_text", "providers"]
