"""Judges fresh readings, silence and servers' records inside the caller's transaction."""

__all__ = [
    "clock",
    "current",
    "engines",
    "evaluate",
    "fast_lane",
    "patterns",
    "place_facts",
    "places",
    "score",
    "server_check",
    "server_samples",
    "shared_seats",
    "silence",
]
