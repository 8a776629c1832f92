"""TCP as every connection and every server here uses it: dead peers are noticed, listeners are bounded."""

from agent.common.tcp.keepalive import watch_peer
from agent.common.tcp.listener import ConnectionLimits, ListeningSocket, address_group

__all__ = ["ConnectionLimits", "ListeningSocket", "address_group", "watch_peer"]
