"""Benches of the pages and of what they read, at the width of the fleet."""
