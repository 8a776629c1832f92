"""What the kernel knows of a connection (struct tcp_info of linux/tcp.h): delivered bytes, not bytes handed over."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

TCP_INFO = 11  # include/uapi/linux/tcp.h
_RTT_AT, _BYTES_AT, _MIN_RTT_AT = 68, 120, 148
_SIZE = 232


@dataclass(frozen=True, kw_only=True)
class TcpInfo:
    """Payload bytes the peer has acknowledged and bytes received in order; round trips in microseconds."""

    acked: int
    received: int
    rtt_us: int
    min_rtt_us: int


def read(sock: socket.socket) -> TcpInfo | None:
    """None where the kernel does not tell (not Linux, older than 4.6)."""
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, _SIZE)
    except OSError:
        return None
    if len(raw) < _MIN_RTT_AT + 4:
        return None
    (rtt_us,) = struct.unpack_from("=I", raw, _RTT_AT)
    acked, received = struct.unpack_from("=QQ", raw, _BYTES_AT)
    (min_rtt_us,) = struct.unpack_from("=I", raw, _MIN_RTT_AT)
    return TcpInfo(acked=acked, received=received, rtt_us=rtt_us, min_rtt_us=min_rtt_us)
