"""What brings a server back, or to another database: a copy of all that makes one, checked, kept, tried out, and put on a bare machine."""

__all__ = ["archive", "contents", "copies", "drill", "move", "server", "settle"]
