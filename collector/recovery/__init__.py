"""What brings a server back: a copy of all that makes one, checked, kept, tried out, and put on a bare machine."""

__all__ = ["archive", "contents", "copies", "drill", "server", "settle"]
