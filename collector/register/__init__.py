"""The register of centers: dated facts, imports of them, owners, and opening hours."""

__all__ = [
    "calendar", "center", "centers", "dated", "facts", "imports", "networks", "opening_hours", "opening_text", "owners",
    "providers",
]  # fmt: skip
