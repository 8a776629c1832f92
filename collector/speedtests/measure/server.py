"""The measurement server: one asyncio process on plain sockets, so that it can ask the kernel what each delivered.

It never fetches anything for anyone, sends bytes only over a TCP connection that asked for them, and gives each test,
address and connection a bounded share (see limits.py). Everything a client sends is hostile until parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Coroutine

from agent.common.logs import Event
from agent.common.tcp import ConnectionLimits, ListeningSocket, address_group
from agent.common.tcp.http_server import ConnectionLimiter, HttpRefused, RateLimiter
from collector.register.networks import Networks
from collector.speedtests.measure import http, routes
from collector.speedtests.measure.admission import Admit
from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.line import Connection
from collector.speedtests.measure.pipe import Plain, Tls
from collector.speedtests.measure.protocols.echo import Echo
from collector.speedtests.measure.record import Record, Sign
from collector.speedtests.measure.sessions import Sessions, unknown

NO_ECHO = Event(
    __name__, "warning", "udp_echo_unavailable", "the measurement server has no UDP echo on its port",
    fields="port error",
)  # fmt: skip
NOT_ACCEPTED = Event(
    __name__, "warning", "accept_failed", "the measurement server cannot accept a connection now", fields="error"
)

TICK_S = 0.1
REFRESH_S = 30.0  # between two looks for a newer database of networks
BBR = b"bbr"
UNSENT_BYTES = 128 * 1024  # more in the socket would only sit there and hide what was delivered


class MeasureServer:
    """Serves from `start` to `close`. `on_record` gets every finished test's record, from the event loop."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        sign: Sign | None = None,
        admit: Admit | None = None,
        public: str = "",
        tls: ssl.SSLContext | None = None,
        on_record: Callable[[Record], None] = lambda _record: None,
        clock: Callable[[], float] = time.monotonic,
        networks: Networks | None = None,
        refresh_s: float = REFRESH_S,
    ) -> None:
        self.limits = limits or Limits()
        self.sign, self.public, self.on_record, self.clock = sign, public, on_record, clock
        self.tls, self.networks, self.refresh_s = tls, networks, refresh_s
        self.sessions = Sessions(self.limits, admit, networks.of if networks else unknown)
        self.block = memoryview(os.urandom(1 << 20))  # incompressible; its period exceeds every compressor's window
        limits = self.limits
        self.connections = ConnectionLimiter(limits.connections, limits.connections_per_address, limits.retry_after_s)
        self.pace = RateLimiter(self.limits.requests_per_address_s)
        self.echo = Echo(self.limits, clock)
        self.tasks: set[asyncio.Task[None]] = set()
        self.listener: ListeningSocket | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listens; returns the address and port it got. Raises OSError when it cannot."""
        addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = addresses[0]
        bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _prefer_bbr(bound)
            bound.bind(address)
            bound.listen(256)
        except OSError:
            bound.close()
            raise
        listener = self.listener = ListeningSocket(bound, _half_open(self.limits))
        self._spawn(self._accept(listener))
        self._spawn(self._tick())
        if self.networks is not None:
            await asyncio.to_thread(self.networks.refresh)
            self._spawn(self._refresh(self.networks))
        got = listener.getsockname()
        await self._offer_echo(got)
        return got[0], got[1]

    async def _offer_echo(self, address: tuple[str, int]) -> None:
        """On the same port of UDP; a server without it still measures."""
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: self.echo, local_addr=address[:2])
        except OSError as error:
            NO_ECHO.log(port=address[1], error=error)

    async def close(self) -> None:
        """Ends every connection and records the tests that were under way."""
        if self.echo.transport is not None:
            self.echo.transport.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.listener is not None:
            self.listener.close()
        for session in self.sessions.running.values():
            self.on_record(session.record(self.clock(), "closing"))
        self.sessions.running.clear()

    def _spawn(self, work: Coroutine[object, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for record in self.sessions.tick(self.clock()):
                self.on_record(record)

    async def _refresh(self, networks: Networks) -> None:
        while True:
            await asyncio.sleep(self.refresh_s)
            await asyncio.to_thread(networks.refresh)

    async def _accept(self, listener: ListeningSocket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = await loop.sock_accept(listener)
            except OSError as error:
                NOT_ACCEPTED.log(error=error)
                await asyncio.sleep(1)
                continue
            self._spawn(self._serve(sock, peer[0], listener))

    async def _serve(self, sock: socket.socket, address: str, listener: ListeningSocket) -> None:
        fileno = sock.fileno()  # TLS takes the socket over
        with contextlib.closing(sock):
            try:
                sock.setblocking(False)
                line = Connection(Plain(sock) if self.tls is None else Tls(sock, self.tls), self.limits)
                with contextlib.closing(line):
                    async with asyncio.timeout(self.limits.head_s):
                        await line.pipe.open()
                    async with asyncio.timeout(self.limits.connection_s):
                        await self._exchanges(line, address, fileno, listener)
            except (OSError, EOFError):  # TimeoutError too: the client went away or stalled; its bytes are counted
                pass

    async def _exchanges(self, line: Connection, address: str, fileno: int, listener: ListeningSocket) -> None:
        """Places are given by the first request: a connection that has sent none yet takes none from others."""
        who = address_group(address)
        try:
            head = await line.head()
            if (refused := self.connections.refusal(who)) is not None:
                raise refused
            with self.connections.counted(who):
                while True:
                    listener.serve(fileno)
                    request = http.parse(head)
                    self._check_pace(who)
                    await routes.answer(self, line, request, address)
                    if not request.keep_alive:
                        await line.linger(self.limits.idle_s)
                        return
                    listener.wait(fileno)
                    head = await line.head()
        except HttpRefused as refusal:
            body = (refusal.why + "\n").encode()
            head = http.response_head(
                refusal.status,
                len(body),
                cors=True,
                keep_alive=False,
                retry_after_s=refusal.retry_after_s,
                position=refusal.position,
            )
            await line.send(head + body)
            await line.linger(1)

    def _check_pace(self, who: str) -> None:
        if not self.pace.admits(who, self.clock()):
            raise HttpRefused(429, f"more than {self.pace.rate_per_s:g} requests a second from this address", 1)


def _half_open(limits: Limits) -> ConnectionLimits:
    """Twice the places, so that those without one are told so, beside as many that have sent nothing yet."""
    return ConnectionLimits(connections=2 * limits.connections, per_address=2 * limits.connections_per_address)


def _prefer_bbr(listener: socket.socket) -> None:
    """Accepted connections inherit it. Where the kernel has no BBR its default stays, and lossy lines read lower."""
    with contextlib.suppress(OSError, AttributeError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, BBR)
    with contextlib.suppress(OSError, AttributeError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
