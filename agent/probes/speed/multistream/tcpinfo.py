"""What the kernel knows of a connection (struct tcp_info of linux/tcp.h): delivered, not handed over."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

IPPROTO_TCP, TCP_INFO = 6, 11
_LAYOUT = struct.Struct("=8B 24I 4Q 6I 4Q 2I 2Q 4I")  # to tcpi_snd_wnd (Linux 5.4)
_TIMESTAMPS = 1  # TCPI_OPT_TIMESTAMPS
_TIMESTAMP_BYTES = 12  # the option and its padding, in every segment (RFC 7323)


class HasSocketOptions(Protocol):
    """A socket, or what asyncio shows of one."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class TcpInfo:
    """Payload bytes and segments (each direction, since the connection began); `options_bytes` per segment."""

    acked: int  # bytes the peer has, in order
    delivered: int  # segments the peer has, in order or not; no segment twice
    sent: int  # bytes, retransmissions included
    sent_again: int  # bytes of these that were retransmissions
    received: int  # bytes we have, in order
    data_segments_in: int  # segments with payload, in order or not, duplicates included
    out_of_order_in: int  # of these, those that came before one sent earlier
    segments_in: int
    segments_out: int
    options_bytes: int
    send_mss: int  # payload of a full segment
    receive_mss: int  # the kernel's estimate from what came
    busy_us: int = 0  # how long there was something to send
    unsent_us: int = 0  # of it, how long the send buffer was too small


Read = Callable[[HasSocketOptions], TcpInfo | None]


def read(sock: HasSocketOptions) -> TcpInfo | None:
    """None where the kernel does not report it (not Linux, older than 5.4)."""
    try:
        raw = sock.getsockopt(IPPROTO_TCP, TCP_INFO, _LAYOUT.size)
    except OSError:
        return None
    if len(raw) < _LAYOUT.size:
        return None
    fields = _LAYOUT.unpack(raw)
    return TcpInfo(
        acked=fields[34],
        received=fields[35],
        segments_out=fields[36],
        segments_in=fields[37],
        data_segments_in=fields[40],
        delivered=fields[46],
        sent=fields[48],
        sent_again=fields[49],
        out_of_order_in=fields[52],
        send_mss=fields[10],
        receive_mss=fields[11],
        busy_us=fields[43],
        unsent_us=fields[45],
        options_bytes=_TIMESTAMP_BYTES if fields[5] & _TIMESTAMPS else 0,
    )
