"""Ours beside other people's monitors, in one run."""
