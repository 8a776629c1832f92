"""One client's connection: heads in, bytes in and out, every wait bounded."""

from __future__ import annotations

import asyncio
import contextlib

from agent.common.tcp.http_server import HttpRefused, read_head
from collector.speedtests.measure import tcpinfo
from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.pipe import Pipe
from collector.speedtests.measure.sessions import Count, Session

CHUNK_BYTES = 256 * 1024
LEAST_BYTES = 16 * 1024
WAKE_BYTES = 8 * 1024  # the kernel wakes us for a mouthful, not for every packet
HEAD_PIECE = 4096


class Connection:
    def __init__(self, pipe: Pipe, limits: Limits) -> None:
        self.pipe, self.sock, self.limits = pipe, pipe.sock, limits
        self.buffer = memoryview(bytearray(HEAD_PIECE))  # larger once a body comes: most heads of a flood bring none
        self.early = b""  # came with a head but belongs to what follows it
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
        """Up to and with the blank line. Raises HttpRefused, EOFError when the client has no more to ask."""
        async with asyncio.timeout(self.limits.head_s):
            head, self.early = await read_head(self._some, self.early, self.limits.head_bytes)
        return head

    async def send(self, data: bytes | memoryview) -> None:
        async with asyncio.timeout(self.limits.idle_s):
            await self.pipe.send_all(data)
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
        return len(await self.take(count, min(count, WAKE_BYTES), self.limits.idle_s))

    async def take(self, most: int, wake_at: int, within_s: float) -> bytes | memoryview:
        """Up to `most` bytes, to be used before the next are taken; `wake_at` of them are sure to come. Raises
        EOFError, and TimeoutError after `within_s`."""
        if self.early:
            taken, self.early = self.early[:most], self.early[most:]
            return taken
        self.pipe.wake_at(wake_at)
        if most > len(self.buffer):
            self.buffer = memoryview(bytearray(CHUNK_BYTES))
        room = self.buffer[:most]
        async with asyncio.timeout(within_s):
            got = await self.pipe.recv_into(room)
        if not got:
            raise EOFError
        self.received += got
        self._moved(got)
        return room[:got]

    async def text_line(self, most: int = 256) -> bytes:
        """One line of a chunked body, without its end. Raises HttpRefused, EOFError."""
        while b"\r\n" not in self.early:
            if len(self.early) > most:
                raise HttpRefused(400, f"a chunk's first line may have {most} bytes")
            async with asyncio.timeout(self.limits.idle_s):
                self.early += await self._some()
        text, _, self.early = self.early.partition(b"\r\n")
        if b"\n" in text or b"\r" in text:
            raise HttpRefused(400, "a line of a chunked body ends with CR LF")
        return text

    async def _some(self) -> bytes:
        """Whatever has come of a head or of a line. Raises EOFError."""
        self.pipe.wake_at(1)
        got = await self.pipe.recv_into(self.buffer[:HEAD_PIECE])
        if not got:
            raise EOFError
        self.received += got
        return bytes(self.buffer[:got])

    def _moved(self, count: int) -> None:
        if self.session is not None:
            self.session.moved += count

    async def linger(self, most_s: float) -> None:
        """Says no more, and waits until the client has it all: what is on its way counts only when it has arrived,
        and a refusal is not to be overtaken by the reset that an unread body brings."""
        self.pipe.finish()
        with contextlib.suppress(TimeoutError, EOFError):
            async with asyncio.timeout(most_s):
                while True:
                    await self.discard(len(self.buffer))
