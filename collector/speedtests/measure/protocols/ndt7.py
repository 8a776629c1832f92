"""ndt7 (m-lab/ndt-server, spec/ndt7-protocol.md): one WebSocket a direction, ten seconds of random messages.

Messages double while they are no more than a sixteenth of what went before, up to 1 MiB. Several times a second the
server says what it and its kernel saw. Either side may end it early; after ten seconds this side does.
"""

from __future__ import annotations

import asyncio
import binascii
import random
import secrets
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec

from agent.common.tcp import websocket_frames
from agent.common.tcp.http_server import HttpRefused
from collector.speedtests.measure import tcpinfo
from collector.speedtests.measure.http import MeasureRequest
from collector.speedtests.measure.line import CHUNK_BYTES, WAKE_BYTES, Connection

SUBPROTOCOL = "net.measurementlab.ndt.v7"
FOLDER = "/ndt/v7/"
QUERY_BYTES = 4096
FAREWELL_S, SILENCE_S = 3.0, 15.0
LEAST_MESSAGE, MOST_MESSAGE, SCALE = 1 << 13, 1 << 20, 16
MEAN_S, SOONEST_S, LATEST_S = 0.25, 0.025, 0.625  # between two measurements
EARLY_EXIT_MB = "250"  # the only early end a client may ask for
MB = 1_000_000

Direction = Literal["download", "upload"]
DIRECTIONS: tuple[Direction, ...] = ("download", "upload")


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """One direction, as client and server agreed on it. `most_bytes` None: as many as the test may have."""

    direction: Direction
    accept: str
    most_bytes: int | None


def agreed(request: MeasureRequest) -> Agreed:
    """Pure. Raises HttpRefused."""
    direction = next((item for item in DIRECTIONS if request.path.endswith(FOLDER + item)), None)
    upgrade = request.upgrade
    if direction is None:
        raise HttpRefused(404, f"no WebSocket is served at {request.path[:64]!r}, only at {FOLDER}download and upload")
    if upgrade is None or request.method != "GET":
        raise HttpRefused(426, "ndt7 is spoken over a WebSocket: ask with GET and Upgrade: websocket")
    if SUBPROTOCOL not in upgrade.protocols:
        raise HttpRefused(400, f"Sec-WebSocket-Protocol must be {SUBPROTOCOL}")
    if upgrade.version != "13" or not _is_key(upgrade.key):
        raise HttpRefused(400, "Sec-WebSocket-Version must be 13 and Sec-WebSocket-Key 16 bytes in base64")
    if sum(len(name) + len(value) + 2 for name, value in request.query.items()) > QUERY_BYTES:
        raise HttpRefused(400, f"the query may have {QUERY_BYTES} bytes")
    if request.query.get("early_exit", EARLY_EXIT_MB) != EARLY_EXIT_MB:
        raise HttpRefused(400, f"early_exit= takes {EARLY_EXIT_MB} and no other number of megabytes")
    most_bytes = int(EARLY_EXIT_MB) * MB if "early_exit" in request.query and direction == "download" else None
    return Agreed(direction=direction, accept=websocket_frames.accept(upgrade.key), most_bytes=most_bytes)


def _is_key(text: str) -> bool:
    try:
        return len(b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


async def run(line: Connection, handshake: Agreed, block: memoryview, address: str) -> None:
    """One direction on a line that has joined its session, from the handshake to the farewell. Raises OSError when
    the client is gone."""
    lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    agreement = (f"Sec-WebSocket-Accept: {handshake.accept}", f"Sec-WebSocket-Protocol: {SUBPROTOCOL}")
    await line.send("\r\n".join([*lines, *agreement, "", ""]).encode("latin-1"))
    talk = _Talk(line, handshake, address)
    try:
        await TALKS[handshake.direction](talk, block)
        await talk.part()
    finally:
        talk.heard.cancel()
        await asyncio.gather(talk.heard, return_exceptions=True)


class _Talk:
    """`heard` is over when the client has said its farewell, or nothing more can come; its result is the code to
    answer with."""

    def __init__(self, line: Connection, handshake: Agreed, address: str) -> None:
        self.line, self.found, self.address = line, handshake, address
        self.reader = websocket_frames.Reader(masked=True)
        self.turn = asyncio.Lock()  # whole messages only
        self.began_s = time.monotonic()
        self.base = tcpinfo.fields(line.sock)
        self.sent = 0
        self.uuid = secrets.token_hex(8)
        self.start_time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.measure_at_s = 0.0
        self.dice = random.SystemRandom()
        self.heard = asyncio.get_running_loop().create_task(self._hear())

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.began_s

    def goes_on(self) -> bool:
        most = self.found.most_bytes
        early = most is not None and (acked := self.acked()) is not None and acked >= most
        return not early and self.elapsed_s < self.line.limits.ndt7_s and not self.heard.done() and not self.line.done()

    async def _hear(self) -> int:
        """Raises OSError, EOFError."""
        try:
            while True:
                data = await self.line.take(CHUNK_BYTES, min(WAKE_BYTES, self.reader.expects), SILENCE_S)
                for message in self.reader.feed(data):
                    if message.opcode == websocket_frames.CLOSE:
                        return websocket_frames.NORMAL
                    if message.opcode == websocket_frames.PING:
                        await self.say(websocket_frames.message(websocket_frames.PONG, message.payload, masked=False))
        except websocket_frames.FrameError as error:
            return error.code

    async def say(self, data: bytes, load: bytes | memoryview = b"") -> None:
        async with self.turn:
            await self.line.send(data)
            if load:
                await self.line.send(load)

    async def part(self) -> None:
        """Both say farewell, this side first when its time is up. Raises OSError, EOFError."""
        code = self.heard.result() if self.heard.done() else websocket_frames.NORMAL
        await self.say(websocket_frames.closing(code, masked=False))
        await asyncio.wait({self.heard}, timeout=FAREWELL_S)

    async def measure(self) -> None:
        text = msgspec.json.encode(self.measurement())
        await self.say(websocket_frames.message(websocket_frames.TEXT, text, masked=False))
        self.measure_at_s = self.elapsed_s + min(LATEST_S, max(SOONEST_S, self.dice.expovariate(1 / MEAN_S)))

    def measurement(self) -> dict[str, object]:
        """What is said to the client: bytes and microseconds since the handshake."""
        elapsed = max(1, round(self.elapsed_s * 1e6))
        bytes_ = self.sent if self.found.direction == "download" else self.reader.load
        host, port = self.line.sock.getsockname()[:2]
        peer = self.line.sock.getpeername()[1]
        fields: dict[str, object] = {
            "AppInfo": {"ElapsedTime": elapsed, "NumBytes": bytes_},
            "ConnectionInfo": {
                "Client": _place(self.address, peer),
                "Server": _place(host, port),
                "UUID": self.uuid,
                "StartTime": self.start_time,
            },
            "Origin": "server",
            "Test": self.found.direction,
        }
        now = tcpinfo.fields(self.line.sock)
        if now is not None and self.base is not None:
            fields["TCPInfo"] = {"ElapsedTime": elapsed, **tcpinfo.ndt7(now, self.base)}
        return fields

    def acked(self) -> int | None:
        now = tcpinfo.fields(self.line.sock)
        return None if now is None or self.base is None else now[tcpinfo.ACKED] - self.base[tcpinfo.ACKED]


async def _download(talk: _Talk, block: memoryview) -> None:
    size = LEAST_MESSAGE
    while talk.goes_on():
        await talk.say(websocket_frames.head(websocket_frames.BINARY, size), block[:size])
        talk.sent += size
        if talk.elapsed_s >= talk.measure_at_s:
            await talk.measure()
        while size < MOST_MESSAGE and size <= talk.sent // SCALE:
            size *= 2


async def _upload(talk: _Talk, _block: memoryview) -> None:
    while talk.goes_on():
        await talk.measure()
        wait_s = min(talk.measure_at_s, talk.line.limits.ndt7_s) - talk.elapsed_s
        await asyncio.wait({talk.heard}, timeout=max(0.0, wait_s))


TALKS: Mapping[Direction, Callable[[_Talk, memoryview], Awaitable[None]]] = {
    "download": _download,
    "upload": _upload,
}


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
