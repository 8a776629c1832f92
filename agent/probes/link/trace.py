"""The first routers on the path to an address, without root: packets with a small TTL, read back from the error queue.

A router that drops a packet for its TTL reports it by ICMP (RFC 792, RFC 4443); Linux hands that to the sender of a
plain UDP packet with the router's address (IP_RECVERR, ip(7)). No packet gets farther than `max_ttl` routers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
import time
from dataclasses import dataclass

from agent.probes.link.ping import Address

FIRST_PORT = 33434  # traceroute's; the port identifies the probe that an error is about
IP_RECVERR, IPV6_RECVERR = 11, 25  # linux/in.h, linux/in6.h
EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err, linux/errqueue.h; the router's address follows
ORIGIN_ICMP, ORIGIN_ICMP6 = 2, 3
TIME_EXCEEDED = {ORIGIN_ICMP: 11, ORIGIN_ICMP6: 3}
GAP_S = 0.05  # routers answer only a few of these a second


@dataclass(frozen=True, kw_only=True)
class Router:
    """One router: how far away, its address, and the round trips its answers took (None: unanswered)."""

    ttl: int
    address: str
    rtts_ms: tuple[float | None, ...]


async def trace(
    family: socket.AddressFamily, address: Address, max_ttl: int, tries: int, timeout_s: float
) -> list[Router]:
    """The routers that answered, nearest first. Raises OSError when the system has no socket to give."""
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        level, option = (
            (socket.IPPROTO_IP, IP_RECVERR) if family == socket.AF_INET else (socket.IPPROTO_IPV6, IPV6_RECVERR)
        )
        sock.setsockopt(level, option, 1)
        return await _Trace(sock, family, address, max_ttl, tries).run(timeout_s)


class _Trace:
    def __init__(
        self, sock: socket.socket, family: socket.AddressFamily, address: Address, max_ttl: int, tries: int
    ) -> None:
        self.sock, self.family, self.address, self.max_ttl, self.tries = sock, family, address, max_ttl, tries
        self.sent_ns: dict[int, int] = {}  # port: monotonic
        self.answers: dict[int, tuple[str, float]] = {}  # port: (router, round trip)
        self.settled: set[int] = set()  # ports that anything answered for: the target itself answers *unreachable*
        self.all_answered = asyncio.Event()

    async def run(self, timeout_s: float) -> list[Router]:
        loop = asyncio.get_running_loop()
        loop.add_reader(self.sock, self.receive)
        try:
            for attempt in range(self.tries):
                for ttl in range(1, self.max_ttl + 1):
                    self.send(ttl, FIRST_PORT + (ttl - 1) * self.tries + attempt)
                await asyncio.sleep(GAP_S)
            with contextlib.suppress(TimeoutError):  # what is still out is unanswered
                async with asyncio.timeout(timeout_s):
                    await self.all_answered.wait()
        finally:
            loop.remove_reader(self.sock)
        return self.routers()

    def send(self, ttl: int, port: int) -> None:
        level, option = (
            (socket.IPPROTO_IP, socket.IP_TTL)
            if self.family == socket.AF_INET
            else (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
        )
        self.sent_ns[port] = time.monotonic_ns()
        self.sock.setsockopt(level, option, ttl)
        for _ in range(3):  # an earlier answer parks its error on the socket, and the next send reports that instead
            with contextlib.suppress(OSError):
                self.sock.sendto(b"nabz", (self.address[0], port, *self.address[2:]))
                return

    def receive(self) -> None:
        for _ in range(64):
            try:
                _data, control, _flags, about = self.sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                return
            router, port = router_of(control), about[1]
            if port not in self.sent_ns:
                continue
            if router is not None:
                self.answers.setdefault(port, (router, (time.monotonic_ns() - self.sent_ns[port]) / 1e6))
            self.settled.add(port)
            if len(self.settled) == self.max_ttl * self.tries:
                self.all_answered.set()

    def routers(self) -> list[Router]:
        """One a distance: the router that answered most of that distance's tries."""
        routers = []
        for ttl in range(1, self.max_ttl + 1):
            first = FIRST_PORT + (ttl - 1) * self.tries
            answers = [self.answers.get(port) for port in range(first, first + self.tries)]
            names = [answer[0] for answer in answers if answer is not None]
            if names:
                name = max(names, key=names.count)
                rtts = tuple(answer[1] if answer is not None and answer[0] == name else None for answer in answers)
                routers.append(Router(ttl=ttl, address=name, rtts_ms=rtts))
        return routers


def router_of(control: list[tuple[int, int, bytes]]) -> str | None:
    """The router that reports *time exceeded*, from a message of the error queue; None for other errors."""
    for level, kind, data in control:
        if (level, kind) not in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
            continue
        if len(data) < EXTENDED_ERROR.size + 8:
            return None
        _errno, origin, icmp_type, _code, _pad, _info, _data = EXTENDED_ERROR.unpack_from(data)
        if TIME_EXCEEDED.get(origin) != icmp_type:
            return None
        tail = data[EXTENDED_ERROR.size :]
        raw = tail[4:8] if origin == ORIGIN_ICMP else tail[8:24]
        return str(ipaddress.ip_address(raw)) if len(raw) in (4, 16) else None
    return None
