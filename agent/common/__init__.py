"""What agent and collector share besides the wire."""

__all__ = ["bufferbloat", "causes", "websocket_frames"]
