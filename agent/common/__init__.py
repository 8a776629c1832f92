"""What agent and collector share besides the wire."""

__all__ = ["bufferbloat", "reasons", "websocket_frames", "words"]
