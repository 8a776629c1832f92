"""The embedded broker's listeners, and the readers and writers behind them, with limits of their own."""

from __future__ import annotations

import asyncio
import io
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import websockets.asyncio.server as ws
from amqtt.adapters import ReaderAdapter, StreamReaderAdapter, StreamWriterAdapter, WriterAdapter
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from agent import wire
from agent.common.errors import describe
from collector.access.ca import Files

MAX_PACKET_BYTES = wire.MAX_BATCH_BYTES + 1024  # a full batch, its signature, topic and headers
HANDSHAKE_TIMEOUT_S = 120.0  # a handshake takes up to that over 30 % loss and 800 ms round trips

Server = asyncio.Server | ws.Server


@dataclass(frozen=True)
class Listener:
    """Where the broker listens. Without `tls` every client may do all, so that is for loopback alone."""

    host: str
    port: int
    transport: Literal["tcp", "websockets"] = "tcp"
    tls: Files | None = None

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"


class TooLarge(Exception):
    """A client announced more than the largest packet of the contract."""


async def open_tcp(
    listener: Listener, context: ssl.SSLContext | None, handle: Callable[[StreamReader, StreamWriter], Awaitable[None]]
) -> Server:
    """Raises OSError."""
    return await asyncio.start_server(
        handle,
        listener.host,
        listener.port,
        reuse_address=True,
        backlog=1024,
        ssl=context,
        ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if context else None,
    )


async def open_websockets(
    listener: Listener, context: ssl.SSLContext | None, handle: Callable[[ws.ServerConnection], Awaitable[None]]
) -> Server:
    """Raises OSError."""
    # No compression: a few bytes could unfold to a great many. No pings either: MQTT has its own, and slow lines
    # would miss the answer's time.
    return await ws.serve(
        handle,
        listener.host,
        listener.port,
        ssl=context,
        subprotocols=[Subprotocol("mqtt")],
        compression=None,
        max_size=MAX_PACKET_BYTES,
        open_timeout=HANDSHAKE_TIMEOUT_S,
        ping_interval=None,
        server_header=None,
        logger=None,
    )


class LimitedReader(StreamReaderAdapter):  # type: ignore[misc]
    async def read(self, n: int = -1) -> bytes:
        if n > MAX_PACKET_BYTES:
            raise TooLarge(f"a packet of {n} bytes, the limit is {MAX_PACKET_BYTES}")
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


class WebSocketReader(ReaderAdapter):  # type: ignore[misc]
    """MQTT packets may begin and end anywhere in WebSocket messages (MQTT 3.1.1, 6.0)."""

    def __init__(self, connection: ws.ServerConnection) -> None:
        self._connection = connection
        self._held = bytearray()

    async def read(self, n: int = -1) -> bytes:
        if n > MAX_PACKET_BYTES:
            raise TooLarge(f"a packet of {n} bytes, the limit is {MAX_PACKET_BYTES}")
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
        found: ssl.SSLObject | None = self._connection.transport.get_extra_info("ssl_object")
        return found

    async def close(self) -> None:
        await self._connection.close()

    def abort(self) -> None:
        self._connection.transport.abort()
