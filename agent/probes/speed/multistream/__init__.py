"""A test with streams of our own: its phases, its samples, and the rate they show."""

__all__ = ["modes", "phases", "saturation", "stream", "streams", "tcpinfo", "transfer", "witness"]
