"""What the kernel knows of a connection (struct tcp_info of linux/tcp.h): delivered bytes, not bytes handed over."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

TCP_INFO = 11  # include/uapi/linux/tcp.h
_LAYOUT = struct.Struct("=8B 24I 4Q 6I 4Q 2I 2Q 4I")  # to tcpi_snd_wnd (Linux 5.4)
RTT, RTTVAR, ACKED, RECEIVED, MIN_RTT = 23, 24, 34, 35, 39  # places in the structure
BUSY, RWND_LIMITED, SNDBUF_LIMITED, SENT, RETRANSMITTED = 43, 44, 45, 48, 49
_MANY, _HALF_EMPTY = 500, 0.6  # of so many segments no line keeps so many waiting


@dataclass(frozen=True, kw_only=True)
class CrossedBytes:
    """Payload bytes that crossed the line each way; the least round trip in microseconds (None: none yet)."""

    down: int
    up: int
    min_rtt_us: int | None


def fields(sock: socket.socket) -> tuple[int, ...] | None:
    """All of it. None where the kernel does not tell (not Linux, older than 5.4)."""
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, _LAYOUT.size)
    except OSError:
        return None
    return _LAYOUT.unpack(raw) if len(raw) == _LAYOUT.size else None


def ndt7(now: tuple[int, ...], base: tuple[int, ...]) -> dict[str, int]:
    """TCPInfo as ndt7 has it (spec/ndt7-protocol.md): microseconds, and bytes since `base`."""
    return {
        "BusyTime": now[BUSY],
        "BytesAcked": now[ACKED] - base[ACKED],
        "BytesReceived": now[RECEIVED] - base[RECEIVED],
        "BytesSent": now[SENT] - base[SENT],
        "BytesRetrans": now[RETRANSMITTED] - base[RETRANSMITTED],
        "MinRTT": now[MIN_RTT],
        "RTT": now[RTT],
        "RTTVar": now[RTTVAR],
        "RWndLimited": now[RWND_LIMITED],
        "SndBufLimited": now[SNDBUF_LIMITED],
    }


def read(sock: socket.socket) -> CrossedBytes | None:
    """None where the kernel does not tell."""
    values = fields(sock)
    if values is None:
        return None
    send_mss, receive_mss, acked, received, min_rtt_us = (values[i] for i in (10, 11, ACKED, RECEIVED, MIN_RTT))
    segments_in, delivered, sent, sent_again, out_of_order = (values[i] for i in (40, 46, SENT, RETRANSMITTED, 52))
    return CrossedBytes(
        down=min(crossed(acked, delivered, send_mss, sent_again), sent - sent_again),
        up=crossed(received, segments_in, receive_mss, out_of_order),
        min_rtt_us=min_rtt_us if min_rtt_us != 0xFFFFFFFF else None,
    )


def crossed(in_order: int, segments: int, mss: int, holes: int) -> int:
    """Payload bytes that crossed the line: those in order, or on a connection with holes, whose bytes lag and leap,
    its segments, each a full one (unless they cannot have been full), but never less than is in order. The gateway
    counts by the same rule."""
    full = segments * mss
    half_empty = segments >= _MANY and in_order < _HALF_EMPTY * full
    return max(in_order, full) if holes and not half_empty else in_order
