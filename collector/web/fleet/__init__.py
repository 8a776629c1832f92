"""The pages of the whole fleet: what is open now, lists and the map, and each role's home."""

__all__ = [
    "evidence",
    "layers",
    "list_rows",
    "lists",
    "map_page",
    "mine",
    "monthly",
    "now",
    "public",
    "reports",
    "setup",
]
