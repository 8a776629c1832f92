"""Benches of one line, emulated: measured over true rates, and what both ends say."""
