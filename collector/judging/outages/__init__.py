"""Gaps in what was heard and cuts of the mains: when, why, and what they say of a battery."""

__all__ = ["gaps", "mains_cuts", "summary", "wires"]
