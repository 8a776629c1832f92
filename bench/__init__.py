"""Benches: each prints what it measured beside the truth it was given. `python -m bench NAME --help`."""
