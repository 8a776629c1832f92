"""Whether names resolve, how long that takes, and by which server (RFC 1035 section 4).

Each of the system's name servers (resolv.conf(5)) gets one query for one name. What people wait is reckoned as their
resolver would: it uses the servers in their order, and waits for a silent one before it takes the next.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RESOLV_CONF = Path("/etc/resolv.conf")
PORT = 53
MOST_SERVERS, WAIT_S, MOST_WAIT_S = 3, 5.0, 30.0  # resolv.conf(5): MAXNS, RES_TIMEOUT, RES_MAXRETRANS
AGAIN_S, GIVE_UP_S = 3.0, 6.0  # one query more: a lost packet is not a dead server
HEADER = struct.Struct("!HHHHHH")
RECURSION_WANTED, ANSWER = 0x0100, 0x8000
TYPE_A, CLASS_IN = 1, 1
NO_ERROR, NO_SUCH_NAME = 0, 3

Outcome = Literal["resolved", "no_such_name", "failed", "silent"]


@dataclass(frozen=True, kw_only=True)
class NameServers:
    """The system's name servers, in the order of use, and how long one is waited for."""

    addresses: tuple[str, ...] = ()
    wait_s: float = WAIT_S


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """One server's answer for the name, and after how many milliseconds it was there or given up."""

    server: str
    outcome: Outcome
    took_ms: float


@dataclass(frozen=True, kw_only=True)
class NamesSeen:
    """`ms` is what a name takes, waiting for silent servers included; None when none resolves it. `failed_pct` None:
    the system has no name server."""

    ms: float | None = None
    failed_pct: float | None = None
    by: str | None = None
    silent: tuple[str, ...] = ()


def name_servers(text: str) -> NameServers:
    """Parses resolv.conf. Pure; what is malformed is passed over, as the system's resolver does."""
    addresses: list[str] = []
    wait_s = WAIT_S
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            addresses.append(words[1])
        for option in words[1:] if words[:1] == ["options"] else ():
            name, _, value = option.partition(":")
            if name == "timeout" and value.isdecimal() and len(value) < 4 and int(value):
                wait_s = min(float(value), MOST_WAIT_S)
    # Without any, the resolver uses this machine's own.
    return NameServers(addresses=tuple(addresses[:MOST_SERVERS]) or ("127.0.0.1",), wait_s=wait_s)


def of_system(file: Path = RESOLV_CONF) -> NameServers:
    try:
        return name_servers(file.read_text("utf-8", "replace"))
    except OSError:
        return NameServers()


async def look_up(name: str, servers: NameServers, port: int = PORT) -> list[Lookup]:
    """All servers at once; none for no name. Raises nothing."""
    return list(await asyncio.gather(*(_lookup(name, server, port) for server in servers.addresses if name)))


def judge_names(lookups: Sequence[Lookup], wait_s: float, *, known: bool) -> NamesSeen:
    """Pure. `known`: the system has an address for the name from elsewhere (a hosts file), so a server that denies it
    works none the less."""
    if not lookups:
        return NamesSeen()
    good: tuple[Outcome, ...] = ("resolved", "no_such_name") if known else ("resolved",)
    failing = tuple(entry.server for entry in lookups if entry.outcome not in good)
    waited_ms = 0.0
    for entry in lookups:
        if entry.outcome in good:
            ms = round(waited_ms + entry.took_ms, 1)
            return NamesSeen(ms=ms, failed_pct=0.0, by=entry.server, silent=failing)
        waited_ms += 1000 * wait_s if entry.outcome == "silent" else entry.took_ms
    return NamesSeen(failed_pct=100.0, silent=failing)


async def _lookup(name: str, server: str, port: int) -> Lookup:
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(GIVE_UP_S):
            outcome = await _exchange(name, server, port)
    except TimeoutError:
        outcome = "silent"
    except (OSError, ValueError):  # refused, no route, no address of a server, no name
        outcome = "failed"
    return Lookup(server=server[:200], outcome=outcome, took_ms=(time.monotonic() - began_s) * 1000)


async def _exchange(name: str, server: str, port: int) -> Outcome:
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(server, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    message = query(int.from_bytes(os.urandom(2), "big"), name)
    with socket.socket(addresses[0][0], socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        await loop.sock_connect(sock, addresses[0][4])
        while True:
            await loop.sock_sendall(sock, message)
            try:
                async with asyncio.timeout(AGAIN_S):
                    return await _answer(sock, message)
            except TimeoutError:
                continue


async def _answer(sock: socket.socket, message: bytes) -> Outcome:
    while True:
        outcome = outcome_of(message, await asyncio.get_running_loop().sock_recv(sock, 4096))
        if outcome is not None:
            return outcome


def query(number: int, name: str) -> bytes:
    """A query for the IPv4 address of `name`. Raises ValueError for what is no name (UnicodeError is one)."""
    labels = name.rstrip(".").encode("idna").split(b".")
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"{name[:80]!r} is no host name")
    head = HEADER.pack(number, RECURSION_WANTED, 1, 0, 0, 0)
    encoded = b"".join(bytes([len(label)]) + label for label in labels)
    return head + encoded + b"\0" + struct.pack("!HH", TYPE_A, CLASS_IN)


def outcome_of(message: bytes, answer: bytes) -> Outcome | None:
    """What an answer to this query says; None for what is no answer to it."""
    if len(answer) < HEADER.size or answer[:2] != message[:2]:
        return None
    _number, flags, _questions, answers, _authorities, _extra = HEADER.unpack_from(answer)
    if not flags & ANSWER:
        return None
    code = flags & 0xF
    if code == NO_SUCH_NAME or (code == NO_ERROR and not answers):  # a name may have another kind of address only
        return "no_such_name"
    return "resolved" if code == NO_ERROR else "failed"
