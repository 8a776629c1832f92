"""What agent and collector share besides the wire."""

__all__ = ["bufferbloat", "center_time", "websocket_frames"]
