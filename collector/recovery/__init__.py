"""What brings a server back: a copy of all that makes one, checked, kept, tried out, put on a bare machine; and a move
to another database."""

__all__ = ["archive", "contents", "copies", "drill", "move", "server", "settle", "unpacked"]
