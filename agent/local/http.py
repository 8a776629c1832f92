"""A server of small requests, for the local page and the seat listener: one a connection, its body read whole.

Clients may be hostile: the head and the body have a size limit, the whole request has a deadline, an address has
a limit of connections and a rate, and all connections together have a number (see agent.common.tcp.http_server).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.common.logs import Event
from agent.common.tcp import ConnectionLimits, ListeningSocket, listening
from agent.common.tcp.http_server import (
    HttpRefused,
    RateLimiter,
    RequestHead,
    parse_head,
    read_head,
    response_head,
)

JSON, HTML = "application/json", "text/html; charset=utf-8"
PIECE_BYTES = 4096
SLOW_BYTES_S = 50_000


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    method: str
    path: str  # as sent, query included
    headers: dict[str, str]  # names in lower case
    body: bytes
    peer: str  # the address it came from


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    status: int
    body: bytes
    kind: str = JSON


@dataclass(frozen=True, kw_only=True)
class HttpLimits:
    head_bytes: int = 8 * 1024
    body_bytes: int = 16 * 1024
    request_s: float = 5.0
    connections: int = 64
    connections_per_address: int = 8
    requests_per_s: float = 2.0  # per address, over time
    burst: float = 120.0  # per address, at once
    addresses: int = 2048  # remembered for their rate


REQUEST_FAILED = Event(
    __name__, "error", "local_request_failed", "a request to a local page or to the seats' listener met a fault of the "
    "program", key="peer", fields="error", has_trace=True,
)  # fmt: skip

Handler = Callable[[HttpRequest], Awaitable[HttpAnswer]]


async def serve(address: str, handler: Handler, limits: HttpLimits) -> asyncio.Server:
    """Listens on ``HOST:PORT`` (``[::1]:PORT`` for IPv6). Raises ValueError for an address that is none, OSError when
    it cannot be listened on."""
    host, port = split_address(address)
    number, share = limits.connections, limits.connections_per_address
    place = await listening(host, port, ConnectionLimits(connections=number, per_address=share, group=str))
    listener = _HttpListener(handler, limits, place)
    return await asyncio.start_server(listener.accept, sock=place, limit=limits.head_bytes)


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of ``HOST:PORT``; port 0 lets the system choose. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ValueError(f"listen address {address!r} is not HOST:PORT, for example 127.0.0.1:8470")
    return host.removeprefix("[").removesuffix("]"), int(port)


class _HttpListener:
    """Reads one request of each connection, answers, closes. `place` bounds how many there are."""

    def __init__(self, handler: Handler, limits: HttpLimits, place: ListeningSocket) -> None:
        self.handler, self.limits, self.place = handler, limits, place
        self.rate = RateLimiter(limits.requests_per_s, limits.burst, limits.addresses)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peername = writer.get_extra_info("peername")
        peer = str(peername[0]) if peername else ""
        if not self.rate.admits(peer, asyncio.get_running_loop().time()):
            # nobody is waited for: a flood must not pile up tasks
            writer.write(encode(error(429, "too many requests from this address: slow down")))
            writer.close()
            return
        fileno = writer.get_extra_info("socket").fileno()
        try:
            answer = await self.answer(reader, peer, fileno)
            self.place.wait(fileno)  # for its client to read
            await _close(writer, answer)
        except asyncio.CancelledError:  # the loop ends; asyncio would report this connection as a fault of ours
            writer.transport.abort()

    async def answer(self, reader: asyncio.StreamReader, peer: str, fileno: int) -> HttpAnswer:
        try:
            async with asyncio.timeout(self.limits.request_s):
                request = await read_request(reader, peer, self.limits)
                self.place.serve(fileno)
                return await self.handler(request)
        except HttpRefused as refused:
            return error(refused.status, refused.why)
        except TimeoutError:
            return error(408, f"the request did not arrive within {self.limits.request_s:g} s")
        except (ConnectionError, EOFError):
            return error(400, "the connection broke off inside the request")
        except Exception as fault:  # a fault of ours must neither leave the caller hanging nor stay unseen
            REQUEST_FAILED.log(peer=peer, error=fault)
            return error(500, "this program failed on the request; its log says why")


async def read_request(reader: asyncio.StreamReader, peer: str, limits: HttpLimits) -> HttpRequest:
    """One request. Raises HttpRefused for whatever is not one, EOFError for a part of one."""
    raw, early = await read_head(lambda: reader.read(PIECE_BYTES), b"", limits.head_bytes)
    head = parse_head(raw)
    if not head.target.startswith("/"):
        raise HttpRefused(400, "this is no proxy: the target is a path")
    rest = body_bytes(head, limits) - len(early)
    body = early + await reader.readexactly(rest) if rest > 0 else early[: len(early) + rest]
    return HttpRequest(method=head.method, path=head.target, headers=head.headers, body=body, peer=peer)


def body_bytes(head: RequestHead, limits: HttpLimits) -> int:
    if head.body_bytes is None:
        raise HttpRefused(411, "send a Content-Length: transfer codings are not taken")
    if head.body_bytes > limits.body_bytes:
        raise HttpRefused(413, f"the body is over {limits.body_bytes} bytes")
    return head.body_bytes


def error(status: int, why: str) -> HttpAnswer:
    return HttpAnswer(status=status, body=b'{"error":"%b"}' % why.replace("\\", "").replace('"', "'").encode())


def encode(answer: HttpAnswer) -> bytes:
    headers = [
        ("Content-Type", answer.kind),
        ("Content-Length", str(len(answer.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Connection", "close"),
    ]
    return response_head(answer.status, headers) + answer.body


async def _close(writer: asyncio.StreamWriter, answer: HttpAnswer) -> None:
    """Sends the answer and closes; a peer that does not read it is dropped after a second, or what a slow LAN needs."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(1.0 + len(answer.body) / SLOW_BYTES_S):
            writer.write(encode(answer))
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    writer.transport.abort()
