"""What the server saw of one test; the form is shared with the collector."""

from __future__ import annotations

from collector.record import End, Record, Sign, Way, encode

__all__ = ["End", "Record", "Sign", "Way", "encode"]
