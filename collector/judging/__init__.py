"""Judges fresh readings, silence and servers' records inside the caller's transaction: `flags` decides, `outages` tells
gaps and cuts, `reopening` marks the days and months that late news makes anew."""

__all__ = [
    "clock",
    "current",
    "engines",
    "evaluate",
    "fast_lane",
    "flags",
    "outages",
    "patterns",
    "place_facts",
    "places",
    "reopening",
    "score",
    "server_check",
    "server_samples",
    "shared_seats",
    "silence",
]
