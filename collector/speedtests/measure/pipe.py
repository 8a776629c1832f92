"""How bytes get in and out of one client's socket: as they are, or through TLS. Waits, and keeps nothing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

TURN_S = 0.005


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
    """TLS right on the socket, so that the kernel can still be asked what it delivered. asyncio's own sits behind a
    transport that copies every byte twice."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.loop = asyncio.get_running_loop()
        self.sock: ssl.SSLSocket = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    async def open(self) -> None:
        await self._when_ready(self.sock.do_handshake)

    async def recv_into(self, room: memoryview) -> int:
        return await self._when_ready(functools.partial(self.sock.recv_into, room))

    async def send_all(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[await self._when_ready(functools.partial(self.sock.send, rest)) :]

    def finish(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.sock.unwrap()  # what it says is sent; what the client answers need not be waited for
        self.sock.shutdown(socket.SHUT_WR)

    def wake_at(self, count: int) -> None:
        """A record has to be whole before it can be read, whatever it holds."""

    async def _when_ready(self, act: Callable[[], int | None]) -> int:
        while True:
            try:
                return act() or 0
            except ssl.SSLWantReadError:
                await self._ready(self.loop.add_reader, self.loop.remove_reader)
            except ssl.SSLWantWriteError:
                await self._ready(self.loop.add_writer, self.loop.remove_writer)

    async def _ready(self, add: Callable[..., None], remove: Callable[[ssl.SSLSocket], bool]) -> None:
        ready: asyncio.Future[None] = self.loop.create_future()
        add(self.sock, _wake, ready)
        try:
            await ready
        finally:
            remove(self.sock)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
