"""Round trips to one host without root: ICMP echo where the kernel allows it, TCP connects where it does not, and
datagrams to a measurement server's echo.

Linux lets a plain process send echoes over datagram sockets when its group lies in ``net.ipv4.ping_group_range``; a
process with CAP_NET_RAW uses a raw socket. The kernel stamps each answer as it arrives (SO_TIMESTAMPNS), so a busy
event loop does not lengthen a round trip.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import math
import os
import socket
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from agent.common.errors import describe

Method = Literal["icmp", "tcp", "udp"]
Address = tuple[str, int] | tuple[str, int, int, int]

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; its control message has the same number
TIMESPEC = struct.Struct("@ll")
HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence (RFC 792, RFC 4443)
COOKIE_BYTES = 16  # a raw socket receives the answers to all echoes of the machine: ours carry this many random bytes
TCP_INFO, TCP_INFO_BYTES, TCPI_RTT_AT, TCPI_TOTAL_RETRANS_AT = 11, 104, 68, 100
REPEATED_MS = 950  # a SYN is repeated after 1 s; the kernel's clock ticks in up to 10 ms
ECHO_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
ECHO_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}


@dataclass(frozen=True, kw_only=True)
class Echoes:
    """What came back: one entry an echo in the order sent, milliseconds or None for lost (later than the timeout)."""

    target: str  # the address probed
    method: Method
    rtts_ms: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Figures of a run of echoes, milliseconds; None where too few answers came for the figure to exist."""

    sent: int
    received: int
    min_ms: float | None
    median_ms: float | None
    p95_ms: float | None
    jitter_ms: float | None
    loss_pct: float | None


def summary(echoes: Echoes) -> Summary:
    """p95 is the nearest rank. Jitter is the mean absolute difference of consecutive round trips (the D of RFC 3550
    section 6.4.1, plainly averaged instead of smoothed); a lost echo breaks the pair on either side of it."""
    rtts = echoes.rtts_ms
    answered = sorted(rtt for rtt in rtts if rtt is not None)
    steps = [abs(b - a) for a, b in itertools.pairwise(rtts) if a is not None and b is not None]
    return Summary(
        sent=len(rtts),
        received=len(answered),
        min_ms=_round(answered[0]) if answered else None,
        median_ms=_round(statistics.median(answered)) if answered else None,
        p95_ms=_round(answered[math.ceil(0.95 * len(answered)) - 1]) if answered else None,
        jitter_ms=_round(statistics.fmean(steps)) if steps else None,
        loss_pct=_round(100 * (len(rtts) - len(answered)) / len(rtts)) if rtts else None,
    )


def echo_lost(echoes: Echoes) -> float:
    """The share that is missing, 0 to 1."""
    return sum(rtt is None for rtt in echoes.rtts_ms) / len(echoes.rtts_ms) if echoes.rtts_ms else 1.0


def _round(value: float) -> float:
    return round(value, 3)


async def ping(host: str, count: int, interval_s: float, timeout_s: float, *, tcp_port: int = 80) -> Echoes:
    """Sends ``count`` echoes to ``host`` (name or address, IPv4 or IPv6), one every ``interval_s``.

    By TCP connects to ``tcp_port`` when this process may not send ICMP. Lost echoes are None, whatever lost them
    (no route, unreachable, silence). Raises OSError when ``host`` has no address.
    """
    family, address = await resolve(host)
    sock = icmp_socket(family)
    if sock is None:
        return await tcp_ping(host, tcp_port, count, interval_s, timeout_s)
    with sock:
        return await icmp_ping(sock, address, count, interval_s, timeout_s)


async def icmp_ping(
    sock: socket.socket, address: Address, count: int, interval_s: float, timeout_s: float, pad_bytes: int = 0
) -> Echoes:
    """The same over an ICMP socket that its caller has set up, each echo longer by so many bytes."""
    family = socket.AddressFamily(sock.family)
    identifier, cookie = int.from_bytes(os.urandom(2), "big"), os.urandom(COOKIE_BYTES)  # a datagram socket has its own

    def request(sequence: int) -> bytes:
        return echo_request(family, identifier, sequence, cookie + bytes(pad_bytes))

    def answered(data: bytes) -> int | None:
        return echo_reply(family, data, cookie, raw=sock.type == socket.SOCK_RAW)

    rtts_ms = await _InFlightEchoes(sock, address, count, timeout_s, request, answered).run(interval_s)
    return Echoes(target=address[0], method="icmp", rtts_ms=rtts_ms)


async def udp_ping(host: str, port: int, cookie: bytes, count: int, interval_s: float, timeout_s: float) -> Echoes:
    """The same by datagrams to a measurement server's echo, which answers to the ``cookie`` it gave. Raises OSError
    when ``host`` has no address."""
    family, address = await resolve(host, port)
    head = cookie + os.urandom(COOKIE_BYTES)

    def request(sequence: int) -> bytes:
        return head + sequence.to_bytes(2, "big")

    def answered(data: bytes) -> int | None:
        return int.from_bytes(data[-2:], "big") if data[:-2] == head else None

    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        _request_stamps(sock)
        rtts_ms = await _InFlightEchoes(sock, address, count, timeout_s, request, answered).run(interval_s)
    return Echoes(target=address[0], method="udp", rtts_ms=rtts_ms)


async def tcp_ping(host: str, port: int, count: int, interval_s: float, timeout_s: float) -> Echoes:
    """The same by TCP handshakes: a refusal is an answer too. The kernel repeats a SYN that nobody answers after a
    second (RFC 6298 section 2.1); a handshake that only the repetition brought about lost its first packet, and counts
    as lost. Raises OSError when ``host`` has no address."""
    family, address = await resolve(host, port)
    tries = []
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            if number:
                await asyncio.sleep(interval_s)
            tries.append(group.create_task(_connect_ms(family, address, timeout_s)))
    return Echoes(target=address[0], method="tcp", rtts_ms=first_packets([attempt.result() for attempt in tries]))


def first_packets(took_ms: Sequence[float | None]) -> tuple[float | None, ...]:
    """Pure. Without the handshakes that took a repetition's pause longer than the quickest."""
    late_ms = REPEATED_MS + min((took for took in took_ms if took is not None), default=0.0)
    return tuple(took if took is not None and took < late_ms else None for took in took_ms)


async def resolve(host: str, port: int = 0) -> tuple[socket.AddressFamily, Address]:
    """The first address the system gives for ``host``. Raises OSError (socket.gaierror) when there is none."""
    return (await addresses_of(host, port))[0]


async def addresses_of(host: str, port: int = 0) -> list[tuple[socket.AddressFamily, Address]]:
    """The first address of each family that the system gives for ``host``, in its order, never empty. Raises OSError
    (socket.gaierror) when there is none."""
    try:
        addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except UnicodeError as error:  # an empty or too long label is refused before any query
        raise socket.gaierror(socket.EAI_NONAME, f"{host[:80]!r} is no host name: {describe(error)}") from None
    firsts: dict[socket.AddressFamily, Address] = {}
    for family, _, _, _, address in addresses:
        firsts.setdefault(family, cast(Address, address))
    return list(firsts.items())


def icmp_socket(family: socket.AddressFamily) -> socket.socket | None:
    """A non-blocking socket that can send echoes, or None when this process may not."""
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
                raise
            continue
        _request_stamps(sock)
        return sock
    return None


async def _connect_ms(family: socket.AddressFamily, address: Address, timeout_s: float) -> float | None:
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        started_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(sock, address)
        except ConnectionRefusedError:  # a refusal is an answer too, and it came back
            pass
        except OSError:  # TimeoutError among them
            return None
        took_ms = (time.monotonic_ns() - started_ns) / 1e6
        return None if was_repeated(sock, took_ms) else took_ms


def was_repeated(sock: socket.socket, took_ms: float) -> bool:
    """Whether the SYN that was answered is not the first one: the round trip by TCP's timestamps (struct tcp_info of
    linux/tcp.h) is then shorter than the handshake took. Unknown counts as no; a long line sees repetitions although
    the first one arrives."""
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES)
        (rtt_us,) = struct.unpack_from("=I", raw, TCPI_RTT_AT)
        (repeated,) = struct.unpack_from("=I", raw, TCPI_TOTAL_RETRANS_AT)
    except (OSError, struct.error):  # not Linux
        return False
    return bool(repeated and rtt_us) and took_ms - rtt_us / 1000 > REPEATED_MS


class _InFlightEchoes:
    """The echoes in flight on one socket."""

    def __init__(
        self,
        sock: socket.socket,
        address: Address,
        count: int,
        timeout_s: float,
        request: Callable[[int], bytes],
        answered: Callable[[bytes], int | None],
    ) -> None:
        self.sock, self.address, self.timeout_s = sock, address, timeout_s
        self.request, self.answered = (
            request,
            answered,
        )  # a sequence's echo; the sequence that an answer has, if it is one
        self.sent_ns: dict[int, tuple[int, int, int]] = {}  # sequence on the wire: (number, wall, monotonic)
        self.rtts_ms: list[float | None] = [None] * count
        self.all_answered = asyncio.Event()

    async def run(self, interval_s: float) -> tuple[float | None, ...]:
        loop = asyncio.get_running_loop()
        loop.add_reader(self.sock, self.receive)
        try:
            for number in range(len(self.rtts_ms)):
                if number:
                    await asyncio.sleep(interval_s)
                self.send(number)
            async with asyncio.timeout(self.timeout_s):
                await self.all_answered.wait()
        except TimeoutError:
            pass  # the answers still out are the lost ones
        finally:
            loop.remove_reader(self.sock)
        return tuple(self.rtts_ms)

    def send(self, number: int) -> None:
        message = self.request(number & 0xFFFF)
        self.sent_ns[number & 0xFFFF] = (number, time.time_ns(), time.monotonic_ns())
        try:
            self.sock.sendto(message, self.address)
        except OSError:  # no route, no buffer, forbidden by a firewall: an echo that never left is lost
            del self.sent_ns[number & 0xFFFF]

    def receive(self) -> None:
        for _ in range(64):  # a flood must not hold the event loop
            try:
                data, control, _flags, source = self.sock.recvmsg(2048, 256)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error parked on the socket: that echo stays lost
                continue
            self.record(data, control, source[0])

    def record(self, data: bytes, control: list[tuple[int, int, bytes]], source: str) -> None:
        sequence = self.answered(data)
        if sequence is None or sequence not in self.sent_ns or source != self.address[0]:
            return
        number, wall_ns, mono_ns = self.sent_ns.pop(sequence)
        upper_ms = (time.monotonic_ns() - mono_ns) / 1e6
        stamped_ms = _stamped_ms(control, wall_ns)
        # The kernel's stamp is wall time: a clock step in between makes it absurd, and the loop's own time bounds it.
        rtt_ms = stamped_ms if stamped_ms is not None and 0 <= stamped_ms <= upper_ms else upper_ms
        if rtt_ms <= self.timeout_s * 1000:
            self.rtts_ms[number] = rtt_ms
        if None not in self.rtts_ms:
            self.all_answered.set()


def _request_stamps(sock: socket.socket) -> None:
    """Where there are none (an emulated kernel, say), the loop's own time holds."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def _stamped_ms(control: list[tuple[int, int, bytes]], sent_wall_ns: int) -> float | None:
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack_from(data)
            return float(seconds * 1_000_000_000 + nanoseconds - sent_wall_ns) / 1e6
    return None


def echo_request(family: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """One echo request; the kernel fills in the ICMPv6 checksum itself (it covers a pseudo-header)."""
    bare = HEADER.pack(ECHO_REQUEST[socket.AddressFamily(family)], 0, 0, identifier, sequence) + payload
    return bare[:2] + struct.pack("!H", checksum(bare)) + bare[4:]


def echo_reply(family: int, data: bytes, cookie: bytes, *, raw: bool) -> int | None:
    """The sequence number when ``data`` answers one of our echoes, else None. Raw IPv4 begins with the IP header."""
    if raw and family == socket.AF_INET and data:
        data = data[(data[0] & 0x0F) * 4 :]
    if len(data) < HEADER.size + len(cookie) or data[HEADER.size : HEADER.size + len(cookie)] != cookie:
        return None
    kind, code, _checksum, _identifier, sequence = cast(tuple[int, ...], HEADER.unpack_from(data))
    return sequence if (kind, code) == (ECHO_REPLY[socket.AddressFamily(family)], 0) else None


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
