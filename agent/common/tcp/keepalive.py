"""How a connection that is to last notices that its peer has gone without a word."""

from __future__ import annotations

import socket
from typing import Protocol

# A line that went dark is noticed within 80 s, whether or not something is being sent (RFC 1122 section 4.2.3.6,
# RFC 5482).
IDLE_S, EVERY_S, DEAD_MS = 15, 10, 65_000


class HasOptions(Protocol):
    def setsockopt(self, level: int, name: int, value: int, /) -> None: ...


def watch_peer(line: HasOptions, dead_ms: int = DEAD_MS) -> None:
    """Asks the kernel to end the connection once its peer is silent for too long, that is `dead_ms`. Raises OSError."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, EVERY_S)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, dead_ms)
