"""Benches of one gateway: its UPSs, its seats, what it costs its host."""
