"""One client's connection: heads in, bytes in and out, every wait bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from collector.measure import tcpinfo
from collector.measure.http import Refused
from collector.measure.limits import Limits
from collector.measure.sessions import Count, Session

CHUNK_BYTES = 256 * 1024
LEAST_BYTES = 16 * 1024
WAKE_BYTES = 8 * 1024


class Line:
    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        sock.setblocking(False)
        self.sock, self.limits = sock, limits
        self.loop = asyncio.get_running_loop()
        self.buffer = memoryview(bytearray(CHUNK_BYTES))
        self.early = b""  # came with a head but belongs to what follows it
        self.wake_at = 1
        self.sent = self.received = 0
        self.session: Session | None = None
        self.number = 0
        self.base = Count()

    def join(self, session: Session) -> None:
        """Counts this connection's bytes for `session` from here on (it may have served another before)."""
        if session is self.session:
            return
        self.leave()
        self.session = session
        self.number = session.join(self.count)

    def leave(self) -> None:
        if self.session is not None:
            self.session.leave(self.number)
            self.base, self.session = self._total(), None

    def count(self) -> Count:
        total = self._total()
        return Count(down=total.down - self.base.down, up=total.up - self.base.up, min_rtt_us=total.min_rtt_us)

    def _total(self) -> Count:
        info = tcpinfo.read(self.sock)
        if info is None:
            return Count(down=self.sent, up=self.received)
        return Count(down=info.down, up=info.up, min_rtt_us=info.min_rtt_us)

    def close(self) -> None:
        self.leave()
        self.sock.close()

    async def head(self) -> bytes:
        """Up to and with the blank line. Raises Refused, EOFError when the client has no more to ask."""
        collected = self.early
        self._wake_at(1)
        async with asyncio.timeout(self.limits.head_s):
            while (end := collected.find(b"\r\n\r\n")) < 0 and len(collected) <= self.limits.head_bytes:
                got = await self.loop.sock_recv(self.sock, 4096)
                if not got:
                    raise EOFError
                self.received += len(got)
                collected += got
        if not 0 <= end <= self.limits.head_bytes:
            raise Refused(431, f"a request's head may have {self.limits.head_bytes} bytes")
        self.early = collected[end + 4 :]
        return collected[: end + 4]

    async def send(self, data: bytes | memoryview) -> None:
        async with asyncio.timeout(self.limits.idle_s):
            await self.loop.sock_sendall(self.sock, data)
        self.sent += len(data)
        self._moved(len(data))

    async def pour(self, block: memoryview, count: int) -> None:
        """Sends `count` bytes of `block`, over and over. Pieces grow with what went well, so that each piece makes
        its way within `idle_s` on a line of a few kbit/s too. Stops early when the session is over or has its bytes."""
        sent = 0
        while sent < count and not self.done():
            piece = min(CHUNK_BYTES, max(LEAST_BYTES, sent // 16), count - sent, len(block))
            at = sent % (len(block) - piece + 1)
            await self.send(block[at : at + piece])
            sent += piece
        if sent < count:
            raise EOFError

    async def drain(self, count: int) -> None:
        """Takes a body of `count` bytes. Raises EOFError when the client or its share ends first."""
        while count:
            if self.done():
                raise EOFError
            count -= await self.discard(count)

    def done(self) -> bool:
        session = self.session
        return session is not None and (session.over or session.spent)

    async def discard(self, count: int) -> int:
        """Takes up to `count` bytes that nobody needs; returns how many came. Raises EOFError."""
        if self.early:
            taken, self.early = self.early[:count], self.early[count:]
            return len(taken)
        self._wake_at(min(count, WAKE_BYTES))
        async with asyncio.timeout(self.limits.idle_s):
            got = await self.loop.sock_recv_into(self.sock, self.buffer[: min(count, CHUNK_BYTES)])
        if not got:
            raise EOFError
        self.received += got
        self._moved(got)
        return got

    async def text_line(self, most: int = 256) -> bytes:
        """One line of a chunked body, without its end. Raises Refused, EOFError."""
        self._wake_at(1)
        while b"\r\n" not in self.early:
            if len(self.early) > most:
                raise Refused(400, f"a chunk's first line may have {most} bytes")
            async with asyncio.timeout(self.limits.idle_s):
                got = await self.loop.sock_recv(self.sock, 4096)
            if not got:
                raise EOFError
            self.received += len(got)
            self.early += got
        text, _, self.early = self.early.partition(b"\r\n")
        return text

    def _moved(self, count: int) -> None:
        if self.session is not None:
            self.session.moved += count

    def _wake_at(self, count: int) -> None:
        """The kernel wakes us for a mouthful of `count` bytes, not for every packet."""
        if count != self.wake_at:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self.wake_at = count

    async def linger(self, most_s: float) -> None:
        """Says no more, and waits until the client has it all: what is on its way counts only when it has arrived,
        and a refusal is not to be overtaken by the reset that an unread body brings."""
        self.sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TimeoutError, EOFError):
            async with asyncio.timeout(most_s):
                while True:
                    await self.discard(CHUNK_BYTES)
