"""What agent and collector share besides the wire."""

__all__ = [
    "bufferbloat",
    "causes",
    "center_time",
    "http_server",
    "mqtt",
    "reasons",
    "tcp",
    "threads",
    "tls",
    "websocket_frames",
    "words",
]
