"""What agent and collector share besides the wire."""

__all__ = [
    "bufferbloat",
    "causes",
    "center_time",
    "errors",
    "http_server",
    "logs",
    "mqtt",
    "tcp",
    "threads",
    "tls",
    "websocket_frames",
    "words",
]
