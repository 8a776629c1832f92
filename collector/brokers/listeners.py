"""The embedded broker's listeners, and the readers and writers behind them, with limits of their own."""

from __future__ import annotations

import asyncio
import io
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
from agent.common.tcp import ConnectionLimits, ListeningSocket, address_group
from collector.access.ca import Files

MAX_PACKET_BYTES = wire.MAX_BATCH_BYTES + 1024  # a full batch, its signature, topic and headers
# Of one gateway: a batch a minute has some 6 kB, and the backlog of twelve hours drains within a minute.
RATE_BYTES_S, BURST_BYTES, READ_COST_BYTES = 256 * 1024, 4 * 1024 * 1024, 512
MAX_UNACKNOWLEDGED = (
    1000  # messages to one gateway, some 5 kB each; an honest one has a receipt for each batch in flight
)
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


class Budgeted:
    """A reader that waits for its session's budget, once it has one. `began` tells the listener that it has a session
    and is to be kept. Once it `is_ended`, it reads nothing that has come."""

    budget: Budget | None = None
    is_ended = False

    def __init__(self, *words: Any, began: Callable[[], None] = lambda: None) -> None:
        super().__init__(*words)
        self.began = began

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
            return bytes(await super().read(n))
        except OSError as error:
            # The kernel gave up on a silent peer with a TimeoutError. amqtt takes that for its own timeout with a
            # living one, and would read again, and again, for ever.
            raise ConnectionResetError(describe(error)) from error


class Writer(StreamWriterAdapter):  # type: ignore[misc]
    """Can also abort: an orderly close would wait for a peer that is gone."""

    def __init__(self, writer: StreamWriter) -> None:
        super().__init__(writer)
        self._transport = writer.transport

    def abort(self) -> None:
        self._transport.abort()


class WebSocketReader(Budgeted, ReaderAdapter):  # type: ignore[misc]
    """MQTT packets may begin and end anywhere in WebSocket messages (MQTT 3.1.1, 6.0)."""

    def __init__(self, connection: ws.ServerConnection, *, began: Callable[[], None] = lambda: None) -> None:
        super().__init__(began=began)
        self._connection = connection
        self._held = bytearray()

    async def read(self, n: int = -1) -> bytes:
        if n > MAX_PACKET_BYTES:
            raise TooLarge(f"a packet of {n} bytes, the limit is {MAX_PACKET_BYTES}")
        await self._await_budget(n)
        while len(self._held) < n:
            try:
                message = await self._connection.recv()
            except ConnectionClosed as error:
                raise asyncio.IncompleteReadError(bytes(self._held), n) from error
            if isinstance(message, str):
                raise asyncio.IncompleteReadError(bytes(self._held), n)
            self._held += message
        taken = bytes(self._held[:n])
        del self._held[:n]
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
