"""TCP as every connection and every server here uses it: dead peers are noticed, listeners are bounded,
and so are heads of HTTP requests."""

from agent.common.tcp.connections import ConnectionLimits, address_group
from agent.common.tcp.keepalive import DEAD_MS, watch_peer
from agent.common.tcp.listener import ListeningSocket, listening
from agent.common.tcp.tls_records import PAYS_BYTES, RecordCount

__all__ = [
    "DEAD_MS",
    "PAYS_BYTES",
    "ConnectionLimits",
    "ListeningSocket",
    "RecordCount",
    "address_group",
    "http_server",
    "listening",
    "watch_peer",
    "websocket_frames",
]
