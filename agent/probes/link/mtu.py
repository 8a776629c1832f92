"""How large a packet may be on the path, and whether larger ones vanish without a word (RFC 2923 section 2.1).

An echo as large as the line's own packets goes out whole (DF). Where a router says that it is too large (RFC 1191,
RFC 8201), the kernel learns, and nothing is wrong. Where nobody says so, smaller sizes are tried; and since some
networks drop large echoes alone, TCP decides: a connection that comes about and whose full segments nobody
acknowledges is a black hole.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from dataclasses import dataclass

from agent.probes.link.ping import Address, echo_lost, icmp_ping, icmp_socket, resolve

MOST_BYTES = 1500  # of a packet on the Internet; a LAN's own may be larger
# Ethernet, PPPoE, tunnels of every kind (GRE, WireGuard, L2TP, IPsec), IPv6's least, X.25's.
SIZES = (
    1500, 1492, 1480, 1472, 1460, 1454, 1440, 1430, 1420, 1400, 1380, 1360, 1340, 1320, 1300, 1280, 1200, 1000, 576,
)  # fmt: skip
TRIES = 2
TIMEOUT_S = 3.5
ECHO_HEAD_BYTES = 8 + 16  # of ICMP, and our cookie
IP_BYTES = {socket.AF_INET: 20, socket.AF_INET6: 40}
# linux/in.h, linux/in6.h: send whole packets of any size, whatever is believed of the path; and what is believed.
DISCOVER = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}
PROBE = 3
BELIEVED = {socket.AF_INET: (socket.IPPROTO_IP, 14), socket.AF_INET6: (socket.IPPROTO_IPV6, 24)}
ACKNOWLEDGED_S = 3.0


@dataclass(frozen=True, kw_only=True)
class PathMtu:
    """The largest packet that got through, None when that is not known; `is_black_hole`: larger ones vanish, and TCP
    with them."""

    largest_bytes: int | None = None
    is_black_hole: bool = False


async def path_mtu(address: str, port: int, timeout_s: float = TIMEOUT_S) -> PathMtu:
    """Towards `address`, whose TCP `port` may answer. Raises OSError only when the system has no socket to give."""
    family, point = await resolve(address, port)
    size = believed_bytes(family, point)
    if await _passes(family, point, size, 1, timeout_s):
        return PathMtu(largest_bytes=size)
    learnt = believed_bytes(family, point)
    if learnt < size:  # a router said so, and TCP has heard it as well
        return PathMtu(largest_bytes=learnt if await _passes(family, point, learnt, TRIES, timeout_s) else None)
    smaller = [entry for entry in SIZES if entry < size]
    passed = await asyncio.gather(*(_passes(family, point, entry, TRIES, timeout_s) for entry in (size, *smaller)))
    largest = next((entry for entry, did in zip((size, *smaller), passed, strict=True) if did), None)
    if largest in (None, size):
        return PathMtu(largest_bytes=largest)
    return PathMtu(largest_bytes=largest, is_black_hole=await acknowledges(family, point, size) is False)


def believed_bytes(family: socket.AddressFamily, point: Address) -> int:
    """What this machine believes of the path, by its interface and what routers have said; MOST_BYTES at most."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.connect((point[0], 9, *point[2:]))
        return min(MOST_BYTES, sock.getsockopt(*BELIEVED[family]))
    return MOST_BYTES


async def _passes(family: socket.AddressFamily, point: Address, size: int, tries: int, timeout_s: float) -> bool:
    sock = icmp_socket(family)
    if sock is None:
        return False
    with sock:
        sock.setsockopt(*DISCOVER[family], PROBE)
        pad_bytes = size - IP_BYTES[family] - ECHO_HEAD_BYTES
        return echo_lost(await icmp_ping(sock, point, tries, 0.2, timeout_s, pad_bytes)) < 1


async def acknowledges(family: socket.AddressFamily, point: Address, size: int) -> bool | None:
    """Whether a TCP peer acknowledges segments that fill packets of this size; None when there is no connection, or
    the peer wants smaller ones (RFC 9293 section 3.7.1), for then TCP is not touched."""
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await loop.sock_connect(sock, point)
        except OSError:  # TimeoutError among them
            return None
        segment = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        if segment + IP_BYTES[family] + 20 + 12 < size:  # 12: timestamps (RFC 7323)
            return None
        with contextlib.suppress(OSError):
            sock.send(b"GET /?" + b"0" * (2 * segment) + b" HTTP/1.1\r\n\r\n")
        return await _is_acknowledged(sock)


async def _is_acknowledged(sock: socket.socket) -> bool:
    """Also a reset is an answer: what we sent has arrived."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + ACKNOWLEDGED_S
    while loop.time() < until_s:
        if unsent_bytes(sock) == 0 or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return True
        await asyncio.sleep(0.05)
    return False


def unsent_bytes(sock: socket.socket) -> int:
    """What the peer has not acknowledged yet (tcp(7), SIOCOUTQ)."""
    (count,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    return int(count)
