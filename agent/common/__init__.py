"""What agent and collector share besides the wire."""

__all__ = ["bufferbloat", "causes", "mqtt", "threads", "websocket_frames", "words"]
