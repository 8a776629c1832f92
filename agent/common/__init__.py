"""What agent and collector share besides the wire."""

__all__ = ["bufferbloat", "websocket_frames"]
