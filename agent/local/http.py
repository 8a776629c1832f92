"""The least HTTP/1.1 that a local page and a LAN listener need: one request a connection, everything capped.

Whoever connects may be hostile: the head and the body have a size, the whole request has a deadline, an address has
a number of connections and a pace, and all connections together have a number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 411: "Length Required", 413: "Content Too Large",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    503: "Service Unavailable",
}  # fmt: skip
JSON, HTML = "application/json", "text/html; charset=utf-8"


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


class HttpRefused(Exception):
    """A request that breaks a rule: the status to answer with and one sentence."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class HttpLimits:
    head_bytes: int = 8 * 1024
    body_bytes: int = 16 * 1024
    request_s: float = 5.0
    connections: int = 64
    connections_per_address: int = 8
    requests_per_s: float = 2.0  # per address, over time
    burst: float = 120.0  # per address, at once
    addresses: int = 2048  # remembered for their pace


log = logging.getLogger(__name__)

Handler = Callable[[HttpRequest], Awaitable[HttpAnswer]]


class AddressLimiter:
    """A token bucket an address, for a bounded number of addresses: the longest unheard is forgotten first."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address: (tokens, when)

    def allows(self, address: str, now_s: float) -> bool:
        tokens, then_s = self.buckets.pop(address, (self.limits.burst, now_s))
        tokens = min(self.limits.burst, tokens + (now_s - then_s) * self.limits.requests_per_s)
        self.buckets[address] = (max(tokens - 1, 0.0) if tokens >= 1 else tokens, now_s)
        if len(self.buckets) > self.limits.addresses:
            self.buckets.popitem(last=False)
        return tokens >= 1


async def serve(address: str, handler: Handler, limits: HttpLimits) -> asyncio.Server:
    """Listens on ``HOST:PORT`` (``[::1]:PORT`` for IPv6). Raises ValueError for an address that is none, OSError when
    it cannot be listened on."""
    host, port = split_address(address)
    door = _Door(handler, limits)
    return await asyncio.start_server(door.meet, host, port, limit=limits.head_bytes)


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of ``HOST:PORT``; port 0 lets the system choose. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ValueError(f"listen address {address!r} is not HOST:PORT, for example 127.0.0.1:8470")
    return host.removeprefix("[").removesuffix("]"), int(port)


class _Door:
    """Meets each connection: lets it in, reads one request, answers, closes."""

    def __init__(self, handler: Handler, limits: HttpLimits) -> None:
        self.handler, self.limits, self.pace = handler, limits, AddressLimiter(limits)
        self.inside: Counter[str] = Counter()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peername = writer.get_extra_info("peername")
        peer = str(peername[0]) if peername else ""
        refusal = self.refusal(peer, asyncio.get_running_loop().time())
        if refusal is not None:  # nobody is waited for: a flood must not pile up tasks
            writer.write(encode(refusal))
            writer.close()
            return
        self.inside[peer] += 1
        try:
            await _close(writer, await self.answer(reader, peer))
        except asyncio.CancelledError:  # the loop ends; asyncio would report this connection as a fault of the program
            writer.transport.abort()
        finally:
            self.inside[peer] -= 1
            if not self.inside[peer]:
                del self.inside[peer]

    def refusal(self, peer: str, now_s: float) -> HttpAnswer | None:
        if not self.pace.allows(peer, now_s):
            return error(429, "too many requests from this address: slow down")
        if self.inside.total() >= self.limits.connections or self.inside[peer] >= self.limits.connections_per_address:
            return error(503, "too many connections: try again in a moment")
        return None

    async def answer(self, reader: asyncio.StreamReader, peer: str) -> HttpAnswer:
        try:
            async with asyncio.timeout(self.limits.request_s):
                return await self.handler(await read_request(reader, peer, self.limits))
        except HttpRefused as refused:
            return error(refused.status, str(refused))
        except TimeoutError:
            return error(408, f"the request did not arrive within {self.limits.request_s:g} s")
        except (ConnectionError, asyncio.IncompleteReadError):
            return error(400, "the connection broke off inside the request")
        except Exception:  # a fault of ours must neither leave the caller hanging nor stay unseen
            log.exception("a request from %s could not be answered", peer)
            return error(500, "this program failed on the request; its log says why")


async def read_request(reader: asyncio.StreamReader, peer: str, limits: HttpLimits) -> HttpRequest:
    """One request. Raises Refused for whatever is not one; bodies need a Content-Length (no chunked coding)."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise HttpRefused(431, f"the head is over {limits.head_bytes} bytes") from None
    method, path, headers = parse_head(head)
    length = body_length(headers, limits)
    return HttpRequest(method=method, path=path, headers=headers, body=await reader.readexactly(length), peer=peer)


def parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """(method, path, headers) of a request's head (RFC 9112). Raises Refused."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[0].isalpha() or not words[1].startswith("/") or not words[2].startswith("HTTP/1."):
        raise HttpRefused(400, "the first line is not `METHOD /path HTTP/1.1`")
    headers = {}
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or name.lower() in headers:
            raise HttpRefused(400, "a header line is malformed or given twice")
        headers[name.lower()] = value.strip()
    return words[0], words[1], headers


def body_length(headers: dict[str, str], limits: HttpLimits) -> int:
    if "transfer-encoding" in headers:
        raise HttpRefused(411, "send a Content-Length: transfer codings are not taken")
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise HttpRefused(400, "Content-Length is not a number")
    if int(text) > limits.body_bytes:
        raise HttpRefused(413, f"the body is over {limits.body_bytes} bytes")
    return int(text)


def error(status: int, why: str) -> HttpAnswer:
    return HttpAnswer(status=status, body=b'{"error":"%b"}' % why.replace("\\", "").replace('"', "'").encode())


def encode(answer: HttpAnswer) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {REASONS[answer.status]}\r\nContent-Type: {answer.kind}\r\n"
        f"Content-Length: {len(answer.body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + answer.body


async def _close(writer: asyncio.StreamWriter, answer: HttpAnswer) -> None:
    """Says the answer and lets go; a peer that will not read it is dropped after a second."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(1.0):
            writer.write(encode(answer))
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    writer.transport.abort()
