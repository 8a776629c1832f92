"""The streams of one direction: HTTP over several connections, and what the kernel counted on each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
from typing import ClassVar

from agent.probes.probe import ProbeFailed
from agent.probes.speed.multistream.stream import Direction, Lane
from agent.probes.speed.multistream.tcpinfo import Read
from agent.probes.target import CONNECT_S, Target, leads_away, portal, status_of

BLOCK_BYTES = 64 * 1024
BODY_BLOCKS = 320  # 20 MiB a POST, what LibreSpeed's own client sends; its servers are set up for that
HEAD_BYTES = 16 * 1024
WAKE_BYTES = 16 * 1024
UNSENT_BYTES = 64 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: what is still queued must not go on loading the line
FAILURES = 3  # a stream that fails so often in a row is not tried again
LEAST_BODY_BYTES = 16 << 20  # a server that ends a body sooner cuts it: TCP would hardly find the line's rate


class Stream(asyncio.BaseProtocol):
    """One connection. `moved` is what this process read or handed over; `ended` is set, with the reason, when no more
    will; `closed` when the socket is gone. One of a kind that runs `once` is not opened again when it ends well."""

    once: ClassVar[bool] = False
    answer: ClassVar[int] = 200

    def __init__(self, target: Target) -> None:
        self.target = target
        self.moved = 0
        self.head: bytearray | None = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        for level, option, value in (
            (socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE),
            (socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr"),
            (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES),
        ):
            with contextlib.suppress(OSError):  # the kernel may not have or allow BBR
                self.sock.setsockopt(level, option, value)

    @property
    def sock(self) -> socket.socket:
        assert self.transport is not None
        sock: socket.socket = self.transport.get_extra_info("socket")
        return sock

    def take_head(self, data: bytes) -> None:
        """Collects the first answer's head; a status other than `answer` ends the stream with the reason."""
        if self.head is None:
            return
        self.head += data
        if b"\r\n\r\n" not in self.head and len(self.head) < HEAD_BYTES:
            return
        head, _, rest = bytes(self.head).partition(b"\r\n\r\n")
        self.head = None
        status = status_of(head)
        if leads_away(self.target, head):
            self.end(portal(self.target))
        elif status != self.answer:
            self.end(_refusal(self.target, status, head, rest))
        elif is_page(head, rest):
            self.end(_no_server(self.target))
        else:
            self.answered(head, rest)

    def answered(self, head: bytes, rest: bytes) -> None:
        """The first answer's head, and what came with it."""

    def connection_lost(self, exc: Exception | None) -> None:
        is_cut = exc is None and not self.once and self.moved < LEAST_BODY_BYTES
        self.end(ConnectionAbortedError(f"it was ended after {self.moved} bytes") if is_cut else exc)
        self.closed.set()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def end(self, why: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(why) if why else self.ended.set_result(None)
            self.ended.exception()  # the closer of the stream need not read it
        self.abort()


class Download(Stream, asyncio.BufferedProtocol):
    """Requests more than the line can carry, and discards it."""

    buffer = memoryview(bytearray(256 * 1024))  # what is read is never looked at, so all streams share it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.write(self.request_head())

    def request_head(self) -> bytes:
        return self.target.head("GET", "garbage", {"ckSize": "1024"}, "Connection: close")

    def answered(self, head: bytes, rest: bytes) -> None:  # noqa: ARG002  (of others)
        if re.search(rb"\r\ncontent-length:[ \t]*0+[ \t]*(\r\n|$)", head, re.IGNORECASE):
            self.end(_no_server(self.target, "with nothing"))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (asyncio names it)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.moved += nbytes
        if self.head is not None:
            self.take_head(bytes(self.buffer[: min(nbytes, HEAD_BYTES)]))
            if self.head is None and self.target.tls is None:
                with contextlib.suppress(OSError):  # wake us for a mouthful, not for every packet
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WAKE_BYTES)


class Upload(Stream, asyncio.Protocol):
    """Posts one body after another without waiting for the answers."""

    block = os.urandom(BLOCK_BYTES)

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.paused = False
        self.blocks_left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        # asyncio's TLS with a buffer limit of nothing pauses at once and never resumes.
        self.transport.set_write_buffer_limits(high=0 if self.target.tls is None else BLOCK_BYTES)
        self.begin()

    def begin(self) -> None:
        self.feed()

    def feed(self) -> None:
        assert self.transport is not None
        for _ in range(16):  # then the other streams and the clock run
            if self.paused or self.ended.done() or self.transport.is_closing():
                return
            self.push(self.transport)
        asyncio.get_running_loop().call_soon(self.feed)

    def push(self, transport: asyncio.Transport) -> None:
        """Hands one block over."""
        if not self.blocks_left:
            length = f"Content-Length: {BODY_BLOCKS * BLOCK_BYTES}"
            transport.write(self.target.head("POST", "empty", {}, length, "Content-Type: application/octet-stream"))
            self.blocks_left = BODY_BLOCKS
        transport.write(self.block)
        self.blocks_left -= 1
        self.moved += BLOCK_BYTES

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.feed()

    def data_received(self, data: bytes) -> None:
        self.take_head(data)


STREAMS: dict[Direction, type[Stream]] = {"down": Download, "up": Upload}


class Busy(ProbeFailed):
    """The server has no place now. `retry_s` is its own Retry-After; None: it gave none."""

    def __init__(self, detail: str, retry_s: int | None) -> None:
        super().__init__("busy", detail)
        self.retry_s = retry_s


def retry_after_s(head: bytes) -> int | None:
    """Retry-After in seconds (RFC 9110 §10.2.3); a date counts as none."""
    match = re.search(rb"\r\nretry-after:[ \t]*(\d{1,5})[ \t]*(?:\r\n|$)", head, re.IGNORECASE)
    return max(1, int(match[1])) if match else None


def is_page(head: bytes, rest: bytes) -> bool:
    """Whether a good answer is a page for people: a measurement server sends random bytes, or says nothing."""
    declared = re.search(rb"\r\ncontent-type:[ \t]*text/html", head, re.IGNORECASE) is not None
    return (declared and bool(rest)) or rest.lstrip()[:200].lower().startswith(
        (b"<!doctype", b"<html", b"<head", b"<?xml")
    )


def _no_server(target: Target, what: str = "with a page") -> ProbeFailed:
    why = f"{target.place} answers {what}: a portal stands in the way, or the address is that of another server"
    return ProbeFailed("not_a_speed_server", f"{why}; check what a browser shows there")


def _refusal(target: Target, status: int, head: bytes, rest: bytes) -> ProbeFailed:
    text = rest[:120].decode("utf-8", "replace").split("\n", 1)[0].strip()
    sentence = f"the speed server {target.place} answered {status}{': ' + text if text else ''}"
    if status < 400:  # of any other kind than was asked for, or no HTTP at all
        return _no_server(target, f"with {status}" if status else "with no HTTP")
    if status in (429, 503):
        return Busy(sentence, retry_after_s(head))
    if text.partition(":")[0] == "no_token":  # a refusal of our server begins with its code
        rule = f"the speed server {target.place} requires a grant of the collector; a test by hand has none"
        fix = "press Test now on the center's page, or run `nabz-collector center test CODE`"
        return ProbeFailed("no_turn", f"{rule}: {fix}")
    return ProbeFailed("refused", sentence)


class Streams:
    """Keeps `count` streams of one direction going and samples them together."""

    def __init__(self, direction: Direction, target: Target, kind: type[Stream], read: Read) -> None:
        self.direction, self.target, self.kind, self.read = direction, target, kind, read
        self.opened: list[tuple[Stream, Lane]] = []
        self.times_s: list[float] = []
        self.keepers: list[asyncio.Task[None]] = []
        self.failure: ProbeFailed | None = None

    @property
    def count(self) -> int:
        return len(self.keepers)

    @property
    def moved(self) -> int:
        return sum(stream.moved for stream, _ in self.opened)

    @property
    def over(self) -> bool:
        """Whether every stream of a kind that runs once has had its one run."""
        ended = self.kind.once and all(keeper.done() for keeper in self.keepers)
        return ended and self.moved > 0 and self.failure is None

    @property
    def lanes(self) -> list[Lane]:
        return [lane for _, lane in self.opened]

    def add(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        self.keepers += [loop.create_task(self._keep()) for _ in range(count)]

    async def _keep(self) -> None:
        """Opens a stream again whenever it ends; gives up on a refusal, or on failing again and again."""
        failures = 0
        while failures < FAILURES:
            try:
                stream = await self._open()
                await stream.ended
                failures = 0
                if self.kind.once:
                    self.failure = None
                    return
            except ProbeFailed as failed:
                self.failure = failed
                return
            except OSError as error:  # TimeoutError and ssl.SSLError among them
                failures += 1
                self.failure = ProbeFailed("interrupted", f"a stream to {self.target.host} broke: {error or 'timeout'}")
                if self.kind.once and self.moved:
                    return
                await asyncio.sleep(0.1)

    async def _open(self) -> Stream:
        target, loop = self.target, asyncio.get_running_loop()
        name = target.host if target.tls else None
        async with asyncio.timeout(CONNECT_S):
            _, stream = await loop.create_connection(
                lambda: self.kind(target),
                target.address,
                target.port,
                ssl=target.tls,
                server_hostname=name,
            )
        self.opened.append((stream, Lane(first=len(self.times_s))))
        return stream

    def tick(self, now: float) -> None:
        """Samples every stream that still has a socket; `now` is monotonic seconds."""
        self.times_s.append(now)
        for stream, lane in self.opened:
            open_ = stream.transport is not None and not stream.transport.is_closing()
            info = self.read(stream.sock) if open_ else None
            if info is not None:
                lane.info.append(info)
            lane.moved.append(stream.moved)

    async def close(self) -> None:
        for keeper in self.keepers:
            keeper.cancel()
        await asyncio.gather(*self.keepers, return_exceptions=True)
        for stream, _ in self.opened:
            stream.abort()
        await asyncio.gather(*(stream.closed.wait() for stream, _ in self.opened))
