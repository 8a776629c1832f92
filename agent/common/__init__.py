"""What agent and collector share besides the wire."""

__all__ = [
    "base64url",
    "bufferbloat",
    "causes",
    "center_time",
    "code_text",
    "command_line",
    "errors",
    "files",
    "http",
    "keys",
    "logs",
    "mqtt",
    "power",
    "reading_codes",
    "reasons",
    "releases",
    "tcp",
    "threads",
    "tls",
    "words",
]
