"""A listening socket that bounds what it accepts, for every server here: asyncio's, uvicorn's and the brokers'.

Connections are counted from their first byte, before TLS; who gives way to whom is in `connections`. When descriptors
run out, who waits is closed at once: asyncio would write a traceback for each of its backlog, and try again a second
later.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from agent.common.logs import Event
from agent.common.tcp.connections import ConnectionLimits, Occupancy
from agent.common.tcp.tls_records import RecordCount

OUT_OF_DESCRIPTORS = Event(
    __name__, "warning", "descriptors_exhausted", "no descriptor is free for a connection, which is closed unanswered",
    fields="listener error",
)  # fmt: skip
ADDRESS_OVER_LIMIT = Event(
    __name__, "warning", "address_over_limit", "an address holds as many connections as one may; for each that comes "
    "the longest waiting is closed", key="listener", fields="address",
)  # fmt: skip
LISTENER_FULL = Event(
    __name__, "warning", "listener_full", "a listener holds as many connections as it may; for each that comes the "
    "longest waiting is closed", key="listener", fields="address",
)  # fmt: skip

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REFUSED_AT_ONCE = 64  # then the loop serves others, before the next are looked at
ENDED_AT_ONCE = 16


class _Accepted(socket.socket):
    """Tells its listener when it is closed, whoever closes it. With `records` it reads no more once they are over."""

    _on_close: Callable[[int], None] | None = None

    def __init__(self, fileno: int, closed: Callable[[int], None], records: RecordCount | None) -> None:
        super().__init__(fileno=fileno)
        self._number, self._records = fileno, records
        self._on_close = closed

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As asyncio reads what TLS is to understand."""
        count = super().recv_into(buffer, nbytes, flags)
        if self._records is not None and self._records.is_over(memoryview(buffer)[:count]):
            raise ConnectionAbortedError(errno.ECONNABORTED, "more records of TLS than contents")
        return count

    def __del__(self) -> None:
        """A loop that ends between accepting one and serving it forgets it (asyncio's `_accept_connection2`)."""
        self.close()

    def close(self) -> None:
        super().close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close(self._number)


class ListeningSocket(socket.socket):
    """Takes over `bound`. Used by one event loop alone. Whoever serves what it accepts calls `serve` once a client owes
    nothing more, and `wait` when it does again; until then each connection waits for its client."""

    def __init__(
        self, bound: socket.socket, limits: ConnectionLimits, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        timeout = bound.gettimeout()
        super().__init__(fileno=bound.detach())
        self.settimeout(timeout)
        self._name = "{}:{}".format(*self.getsockname()[:2])
        self._held, self._group, self._clock_s = Occupancy(limits), limits.group, clock_s
        self._ended, self._ended_at_once = 0, max(1, min(ENDED_AT_ONCE, limits.connections // 4))
        self._rest_s, self._counts_records = limits.rest_s, limits.counts_records
        self._records: dict[int, RecordCount] = {}
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY)
        self._accepts = True

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises BlockingIOError when nobody waits or others are to be served first, OSError when it cannot listen."""
        if not self._accepts:
            raise BlockingIOError(errno.EAGAIN, "it is about to be closed")
        if self._ended >= self._ended_at_once:
            self._ended = 0
            if self._rest_s:
                time.sleep(self._rest_s)
            raise BlockingIOError(errno.EAGAIN, "what gave way is to be closed first: it holds descriptors until then")
        for _ in range(REFUSED_AT_ONCE):
            try:
                connection, peer = super().accept()
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._close_waiting(error)
                continue
            admitted = self._admit(connection, str(peer[0]))
            if admitted is not None:
                return admitted, peer
        raise BlockingIOError(errno.EAGAIN, "the next are looked at later")

    def accept_no_more(self) -> None:
        """Before it is closed, and a step of the loop before that: asyncio of Python 3.11 loses a connection, open, of
        which it has not made a transport when its server is closed."""
        self._accepts = False

    def serve(self, fileno: int) -> None:
        """The client of this connection owes nothing: it is not closed for others."""
        self._held.serve(fileno)

    def wait(self, fileno: int) -> None:
        """The client of this connection owes something from now on."""
        self._held.wait(fileno, self._clock_s())

    def pay(self, fileno: int, count: int) -> None:
        """So many bytes of contents came out of this connection's TLS."""
        if (records := self._records.get(fileno)) is not None:
            records.pay(count)

    def records(self, fileno: int) -> RecordCount | None:
        """Of an open connection, for whoever knows how many its client has to spare; None where they do not count."""
        return self._records.get(fileno)

    def close(self) -> None:
        super().close()
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)

    def _close_waiting(self, error: OSError) -> None:
        """With the descriptor that is kept for this: else who waits keeps the loop awake for nothing."""
        OUT_OF_DESCRIPTORS.log(listener=self._name, error=error)
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        try:
            super().accept()[0].close()
        finally:
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY)

    def _admit(self, connection: socket.socket, address: str) -> socket.socket | None:
        """None, and `connection` closed, when it has no room."""
        group, held, now_s = self._group(address), self._held, self._clock_s()
        if held.is_over(group) or held.is_full():
            closed = held.to_give_way(group, now_s)
            who = group if closed is None else held.group_of(closed)
            if held.is_over(group):
                ADDRESS_OVER_LIMIT.log(listener=self._name, address=who)
            else:
                LISTENER_FULL.log(listener=self._name, address=who)
            if closed is None:
                connection.close()
                return None
            self._end(closed)
        fileno = connection.detach()
        if self._counts_records:
            self._records[fileno] = RecordCount()
        held.add(fileno, group, now_s)
        return _Accepted(fileno, self._forget, self._records.get(fileno))

    def _forget(self, fileno: int) -> None:
        self._held.remove(fileno)
        self._records.pop(fileno, None)

    def _end(self, fileno: int) -> None:
        """Its server reads the end, and closes it. By number, as TLS may have taken over the socket itself."""
        self._held.remove(fileno)
        self._ended += 1
        line = socket.socket(fileno=fileno)
        try:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        finally:
            line.detach()


async def listening(host: str, port: int, limits: ConnectionLimits, backlog: int = 256) -> ListeningSocket:
    """At the first address of `host`, IPv4 before IPv6. Raises OSError."""
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(addresses, key=lambda entry: entry[0] != socket.AF_INET)
    bound = socket.create_server(address[:2], family=family, backlog=backlog)
    bound.setblocking(False)
    return ListeningSocket(bound, limits)
