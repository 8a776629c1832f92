"""How bytes get in and out of one client's socket: as they are, or through TLS. Waits, and keeps nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from agent.common.tcp import RecordCount

FIRST_BYTES, RAW_BYTES = 4 * 1024, 64 * 1024  # read at once: most of a flood bring a handshake and nothing else


class Pipe(Protocol):
    @property
    def sock(self) -> socket.socket:
        """The kernel's, for its counters."""

    async def open(self) -> None:
        """What has to be said before anything else. Raises OSError."""

    async def recv_into(self, room: memoryview) -> int:
        """At least one byte; 0 when the client says no more. Raises OSError."""

    async def send_all(self, data: bytes | memoryview) -> None:
        """Raises OSError."""

    def finish(self) -> None:
        """Says that no more will come from here. Raises OSError."""

    def wake_at(self, count: int) -> None:
        """Need not be woken for fewer bytes, where the kernel can tell."""


class Plain:
    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.loop = sock, asyncio.get_running_loop()
        self.woken_at = 1

    async def open(self) -> None:
        return None

    async def recv_into(self, room: memoryview) -> int:
        return await self.loop.sock_recv_into(self.sock, room)

    async def send_all(self, data: bytes | memoryview) -> None:
        await self.loop.sock_sendall(self.sock, data)

    def finish(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def wake_at(self, count: int) -> None:
        if count != self.woken_at:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self.woken_at = count


class Tls:
    """TLS with the bytes in hand, so that the kernel can still be asked what it delivered, and records are counted
    before they are understood. asyncio's own sits behind a transport that copies every byte twice more."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock, self.loop = sock, asyncio.get_running_loop()
        self.incoming, self.outgoing, self.records = ssl.MemoryBIO(), ssl.MemoryBIO(), RecordCount()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.raw = memoryview(bytearray(FIRST_BYTES))
        self.turn = asyncio.Lock()  # whoever reads may have to say something too, and records go out whole

    async def open(self) -> None:
        await self._when_ready(self.tls.do_handshake)

    async def recv_into(self, room: memoryview) -> int:
        if len(room) > len(self.raw):
            self.raw = memoryview(bytearray(min(len(room), RAW_BYTES)))
        count = await self._when_ready(functools.partial(self.tls.read, len(room), room))  # type: ignore[arg-type]
        self.records.pay(count)
        return count

    async def send_all(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.tls.write(rest[:RAW_BYTES]) :]
            await self._flush()

    def finish(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # what the client answers need not be waited for
            self.tls.unwrap()
        self._say_last()
        self.sock.shutdown(socket.SHUT_WR)

    def wake_at(self, count: int) -> None:
        """A record has to be whole before it can be read, whatever it holds."""

    async def _when_ready(self, act: Callable[[], int | None]) -> int:
        while True:
            try:
                done = act() or 0
            except ssl.SSLWantReadError:
                await self._flush()
                await self._take()
            except ssl.SSLEOFError:
                return 0
            except ssl.SSLError:
                self._say_last()
                raise
            else:
                await self._flush()
                return done

    async def _take(self) -> None:
        count = await self.loop.sock_recv_into(self.sock, self.raw)
        if self.records.is_over(self.raw[:count]):
            raise ConnectionAbortedError(errno.ECONNABORTED, "more records of TLS than contents")
        if count:
            self.incoming.write(self.raw[:count])
        else:
            self.incoming.write_eof()

    async def _flush(self) -> None:
        if self.outgoing.pending:
            async with self.turn:
                await self.loop.sock_sendall(self.sock, self.outgoing.read())

    def _say_last(self) -> None:
        """As much as the kernel takes."""
        with contextlib.suppress(BlockingIOError):
            self.sock.send(self.outgoing.read())
