"""What agent and collector share besides the wire."""

__all__ = ["bufferbloat", "mqtt", "threads", "websocket_frames"]
