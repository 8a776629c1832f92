"""What agent and collector share besides the wire."""

__all__ = ["bufferbloat", "causes", "http_server", "mqtt", "threads", "websocket_frames", "words"]
