"""The embedded broker's listeners, and the readers and writers behind them, with limits of their own."""

from __future__ import annotations

import asyncio
import io
import math
import ssl
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import websockets.asyncio.server as ws
from amqtt.adapters import ReaderAdapter, StreamReaderAdapter, StreamWriterAdapter, WriterAdapter
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from agent import wire
from agent.common.errors import describe
from agent.common.tcp import PAYS_BYTES, ConnectionLimits, ListeningSocket, RecordCount, address_group
from collector.access.ca import Files

MAX_PACKET_BYTES = wire.MAX_BATCH_BYTES + 1024  # a full batch, its signature, topic and headers
# Of one gateway: a batch a minute has some 6 kB, and the backlog of twelve hours drains within a minute.
RATE_BYTES_S, BURST_BYTES, READ_COST_BYTES = 256 * 1024, 4 * 1024 * 1024, 512
MAX_UNACKNOWLEDGED = (
    1000  # messages to one gateway, some 5 kB each; an honest one has a receipt for each batch in flight
)
# Acknowledgements of all these may come in one read, each in a record of its own, before any is understood.
GATEWAY_SPARE_RECORDS = 2 * MAX_UNACKNOWLEDGED
HANDSHAKE_TIMEOUT_S = 120.0  # a handshake takes up to that over 30 % loss and 800 ms round trips

# A carrier may have a whole fleet behind one address. Each that has no session yet costs some 60 kB of TLS; in a storm
# of honest ones a handshake takes seconds, so those of one address do not put each other out at once.
MAX_CONNECTIONS, BACKLOG = 20_000, 1024
LIMITS = ConnectionLimits(
    connections=MAX_CONNECTIONS,
    per_address=MAX_CONNECTIONS,
    waiting=1024,
    waiting_per_address=512,
    exempt=[address_group(address) for address in ("127.0.0.1", "::1")],
    patience_s=10.0,
    counts_records=True,
)

Server = asyncio.Server | ws.Server


@dataclass(frozen=True)
class Listener:
    """Where the broker listens. Without `tls` every client may do all, so that is for loopback alone."""

    host: str
    port: int
    transport: Literal["tcp", "websockets"] = "tcp"
    tls: Files | None = None
    limits: ConnectionLimits = LIMITS

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"


class TooLarge(Exception):
    """A client announced more than the largest packet of the contract."""


async def open_tcp(
    place: ListeningSocket,
    context: ssl.SSLContext | None,
    handle: Callable[[StreamReader, StreamWriter], Awaitable[None]],
) -> Server:
    return await asyncio.start_server(
        handle,
        sock=place,
        backlog=BACKLOG,
        ssl=context,
        ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if context else None,
    )


async def open_websockets(
    place: ListeningSocket, context: ssl.SSLContext | None, handle: Callable[[ws.ServerConnection], Awaitable[None]]
) -> Server:
    # No compression: a few bytes could unfold to a great many. No pings either: MQTT has its own, and slow lines
    # would miss the answer's time.
    return await ws.serve(
        handle,
        sock=place,
        backlog=BACKLOG,
        ssl=context,
        subprotocols=[Subprotocol("mqtt")],
        compression=None,
        max_size=MAX_PACKET_BYTES,
        open_timeout=HANDSHAKE_TIMEOUT_S,
        ping_interval=None,
        server_header=None,
        logger=None,
    )


class Budget:
    """What one session may send: a token bucket of bytes, in which each read counts as some more, so that it bounds
    small packets too. Pure: `now_s` is monotonic."""

    def __init__(self, rate_bytes_s: float = RATE_BYTES_S, burst_bytes: float = BURST_BYTES) -> None:
        self._rate_bytes_s, self._burst_bytes = rate_bytes_s, burst_bytes
        self._left_bytes, self._since_s = burst_bytes, 0.0

    def wait_s(self, read_bytes: int, now_s: float) -> float:
        """How long the read that begins now is to wait. A session sends no faster then: its TCP window fills."""
        gained_bytes = (now_s - self._since_s) * self._rate_bytes_s
        self._left_bytes = min(self._burst_bytes, self._left_bytes + gained_bytes) - read_bytes - READ_COST_BYTES
        self._since_s = now_s
        return max(0.0, -self._left_bytes / self._rate_bytes_s)


class HeldConnection:
    """A client's connection, as its listener holds it."""

    def __init__(self, listener: ListeningSocket, fileno: int) -> None:
        self._listener, self._fileno = listener, fileno
        self._records = listener.records(fileno) or RecordCount()

    def serve(self, *, is_gateway: bool) -> None:
        """Its client has a session. A collector has the messages of all gateways to acknowledge."""
        self._listener.serve(self._fileno)
        self._records.spare = GATEWAY_SPARE_RECORDS if is_gateway else math.inf

    def pay(self, count: int) -> None:
        """So many bytes came out of its TLS; however few, they are what a record brought."""
        self._records.pay(max(count, PAYS_BYTES))

    @property
    def is_flood(self) -> bool:
        """Whether it was closed because its client sent more records than contents."""
        return self._records.is_spent


class Budgeted:
    """A reader that waits for its session's budget, once it has one. Once it `is_ended`, it reads nothing that has
    come."""

    budget: Budget | None = None
    is_ended = False

    def __init__(self, held: HeldConnection | None, *words: Any) -> None:
        super().__init__(*words)
        self.held = held  # None for one that was gone before it could be

    def _pay(self, count: int) -> None:
        if self.held is not None:
            self.held.pay(count)

    async def _await_budget(self, read_bytes: int) -> None:
        if self.budget is not None and (wait_s := self.budget.wait_s(read_bytes, time.monotonic())) > 0:
            await asyncio.sleep(wait_s)
        if self.is_ended:
            raise ConnectionResetError("the session has ended")


class LimitedReader(Budgeted, StreamReaderAdapter):  # type: ignore[misc]
    async def read(self, n: int = -1) -> bytes:
        if n > MAX_PACKET_BYTES:
            raise TooLarge(f"a packet of {n} bytes, the limit is {MAX_PACKET_BYTES}")
        await self._await_budget(n)
        try:
            data = bytes(await super().read(n))
        except OSError as error:
            # The kernel gave up on a silent peer with a TimeoutError. amqtt takes that for its own timeout with a
            # living one, and would read again, and again, for ever.
            raise ConnectionResetError(describe(error)) from error
        self._pay(n)
        return data


class Writer(StreamWriterAdapter):  # type: ignore[misc]
    """Can also abort: an orderly close would wait for a peer that is gone."""

    def __init__(self, writer: StreamWriter) -> None:
        super().__init__(writer)
        self._transport = writer.transport

    def abort(self) -> None:
        self._transport.abort()


class WebSocketReader(Budgeted, ReaderAdapter):  # type: ignore[misc]
    """MQTT packets may begin and end anywhere in WebSocket messages (MQTT 3.1.1, 6.0)."""

    def __init__(self, held: HeldConnection | None, connection: ws.ServerConnection) -> None:
        super().__init__(held)
        self._connection = connection
        self._unread = bytearray()

    async def read(self, n: int = -1) -> bytes:
        if n > MAX_PACKET_BYTES:
            raise TooLarge(f"a packet of {n} bytes, the limit is {MAX_PACKET_BYTES}")
        await self._await_budget(n)
        while len(self._unread) < n:
            try:
                message = await self._connection.recv()
            except ConnectionClosed as error:
                raise asyncio.IncompleteReadError(bytes(self._unread), n) from error
            if isinstance(message, str):
                raise asyncio.IncompleteReadError(bytes(self._unread), n)
            self._pay(len(message) + PAYS_BYTES)  # its head may have had a record for itself
            self._unread += message
        taken = bytes(self._unread[:n])
        del self._unread[:n]
        return taken

    def feed_eof(self) -> None:
        """The connection signals its own end."""


class WebSocketWriter(WriterAdapter):  # type: ignore[misc]
    def __init__(self, connection: ws.ServerConnection) -> None:
        self._connection = connection
        self._held = io.BytesIO()

    def write(self, data: bytes) -> None:
        self._held.write(data)

    async def drain(self) -> None:
        data, self._held = self._held.getvalue(), io.BytesIO()
        if data:
            try:
                await self._connection.send(data)
            except ConnectionClosed as error:
                raise ConnectionResetError("the WebSocket is closed") from error

    def get_peer_info(self) -> tuple[str, int] | None:
        address = self._connection.remote_address
        return (address[0], address[1]) if address else None

    def get_ssl_info(self) -> ssl.SSLObject | None:
        ssl_object: ssl.SSLObject | None = self._connection.transport.get_extra_info("ssl_object")
        return ssl_object

    async def close(self) -> None:
        await self._connection.close()

    def abort(self) -> None:
        self._connection.transport.abort()
