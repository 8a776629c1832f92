"""ndt7, M-Lab's single-stream test (m-lab/ndt-server, spec/ndt7-protocol.md): a second opinion, never of record.

One WebSocket over ws or wss, ten seconds each direction, with slow start inside as the protocol has it: on long or
lossy lines it reads below what several streams reach. Down is what arrived here over its time; up, round trips and loss
are what the server's kernel reported. Against our own measurement server, another ndt7 server, or a public one that
M-Lab's Locate names when no server is set; M-Lab publishes such results with the address they came from."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, ClassVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec

from agent import __version__, wire
from agent.common.tcp import websocket_frames
from agent.probes.probe import ProbeFailed
from agent.probes.speed.engine import PUBLIC, SpeedRequest, Throughput
from agent.probes.speed.engines import locate
from agent.probes.speed.multistream import phases, tcpinfo
from agent.probes.speed.multistream.modes import MB, Mode
from agent.probes.speed.multistream.saturation import DirectionResult
from agent.probes.speed.multistream.stream import Direction
from agent.probes.speed.multistream.streams import WAKE_BYTES, Download, Stream, Upload
from agent.probes.speed.multistream.transfer import TransferPlan
from agent.probes.target import Target, connected, parse

NAME = "ndt7"
SUBPROTOCOL = "net.measurementlab.ndt.v7"
FOLDER = "/ndt/v7"
NAMES: dict[Direction, str] = {"down": "download", "up": "upload"}
LEAST_MESSAGE, SCALE = 1 << 13, 16  # a message doubles while it is no more than a sixteenth of what was sent
OVERHEAD = 1.1  # of frames and TLS, that the kernel counts and we do not
LEAST_SHARE, MOST_SHARE, SLACK_S = 0.5, 1.25, 1.0  # of a run: its last measurement may be late, or begin before it
MAX_MEASUREMENTS = 500  # ten seconds at ten a second, and room
# The server ends it ten seconds after the handshake; ending just before needs no farewell.
MODE = Mode(
    streams=1, most_streams=1, warmup_s=1.5, least_s=9.5, most_s=9.5, least_bytes=0, most_bytes=1500 * MB, settle=False
)

Micros = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class AppInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the other process read or sent: bytes, within microseconds."""

    elapsed: Micros = msgspec.field(name="ElapsedTime")
    bytes: Amount = msgspec.field(name="NumBytes")


class RemoteTcpInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the other kernel knows of the connection: bytes and microseconds."""

    elapsed: Micros | None = msgspec.field(name="ElapsedTime", default=None)
    received: Amount | None = msgspec.field(name="BytesReceived", default=None)
    sent: Amount | None = msgspec.field(name="BytesSent", default=None)
    retransmitted: Amount | None = msgspec.field(name="BytesRetrans", default=None)
    rtt: Amount | None = msgspec.field(name="RTT", default=None)
    min_rtt: Amount | None = msgspec.field(name="MinRTT", default=None)


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One text message of the server."""

    app: AppInfo | None = msgspec.field(name="AppInfo", default=None)
    tcp: RemoteTcpInfo | None = msgspec.field(name="TCPInfo", default=None)


def measure(request: SpeedRequest, read: tcpinfo.Read = tcpinfo.read) -> Throughput:
    """Blocks until done, at most `request.deadline_s`; always the protocol's full length. Raises ProbeFailed."""
    return phases.measure(PROTOCOL, "full", MODE, request, read)


# ---------------------------------------------------------------- where


async def _find(request: SpeedRequest) -> phases.Targets:
    if request.server not in ("", PUBLIC):
        return await _reach(named(request))
    failure = ProbeFailed("unreachable", "Locate named no server")
    for pair in await locate.nearest(request.locate_url):
        try:
            return await _reach({direction: _target(url, {}, request.ca_file) for direction, url in pair.items()})
        except ProbeFailed as failed:
            request.explain(f"passed over: {failed.detail}")
            failure = failed
    raise failure


def named(request: SpeedRequest) -> dict[Direction, Target]:
    """Both directions at the server that was named, http(s) or ws(s). Raises ProbeFailed(``bad_server``)."""
    extra = {"test": request.test_id, "access_token": request.token}
    server = request.server.rstrip("/").removesuffix(FOLDER)
    return {direction: _target(f"{server}{FOLDER}/{name}", extra, request.ca_file) for direction, name in NAMES.items()}


def _target(url: str, extra: dict[str, str], ca_file: str) -> Target:
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    fields = dict(parse_qsl(parts.query)) | extra | {"client_name": "nabz-agent", "client_version": __version__}
    target = parse(urlunsplit((scheme, parts.netloc, parts.path.rpartition("/")[0], "", "")), fields, ca_file)
    return replace(target, schemes=("ws", "wss"))


async def _reach(pair: Mapping[Direction, Target]) -> phases.Targets:
    """With the addresses that answer."""
    targets: dict[Direction, Target] = {}
    for direction, target in pair.items():
        async with connected(target) as (_reader, _writer, reached):
            targets[direction] = reached
    return targets


# ---------------------------------------------------------------- streams


class Talk:
    """What both directions have in common: the handshake, and the server's measurements."""

    def __init__(self) -> None:
        self.key = base64.b64encode(os.urandom(16)).decode()
        self.reader = websocket_frames.Reader(masked=False)
        self.measurements: list[Measurement] = []
        self.opened_s = 0.0

    def hello(self, target: Target, direction: Direction) -> bytes:
        return target.head(
            "GET",
            NAMES[direction],
            {},
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {self.key}",
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        )

    def check(self, target: Target, head: bytes) -> ProbeFailed | None:
        """Why the answer to the handshake is none, or None."""
        lines = [line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:]]
        headers = {name.strip().lower(): value.strip() for name, _, value in lines}
        self.opened_s = time.monotonic()
        if headers.get("sec-websocket-accept") != websocket_frames.accept(self.key):
            return ProbeFailed("not_a_speed_server", f"{target.place} does not answer as a WebSocket server does")
        if headers.get("sec-websocket-protocol") != SUBPROTOCOL:
            return ProbeFailed("not_a_speed_server", f"{target.place} speaks WebSocket but not {SUBPROTOCOL}")
        return None

    def take(self, stream: Stream, data: bytes | memoryview) -> None:
        """Measurements are kept, a ping is answered, a closing ends the stream."""
        try:
            messages = self.reader.feed(data)
        except websocket_frames.FrameError as error:
            stream.end(ProbeFailed("bad_output", f"{stream.target.place}: {error}"))
            return
        for message in messages:
            if message.opcode == websocket_frames.CLOSE:
                stream.end(None)
            elif message.opcode == websocket_frames.PING and stream.transport is not None:
                stream.transport.write(websocket_frames.message(websocket_frames.PONG, message.payload, masked=True))
            elif message.opcode == websocket_frames.TEXT and len(self.measurements) < MAX_MEASUREMENTS:
                self.measurements += measurement(message.payload)


def measurement(text: bytes) -> Iterator[Measurement]:
    """The message's figures; nothing when it has none that can be read, for the test does not hang on one message."""
    try:
        yield msgspec.json.decode(text, type=Measurement)
    except wire.UNREADABLE:
        return


class Ndt7Download(Download):
    once: ClassVar[bool] = True
    answer: ClassVar[int] = 101

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.talk = Talk()
        self.wake_at = 1

    def request_head(self) -> bytes:
        return self.talk.hello(self.target, "down")

    def answered(self, head: bytes, rest: bytes) -> None:
        refused = self.talk.check(self.target, head)
        if refused is not None:
            self.end(refused)
        else:
            self._take(rest)

    def buffer_updated(self, nbytes: int) -> None:
        if self.head is not None:
            self.take_head(bytes(self.buffer[:nbytes]))
        elif not self.ended.done():
            self._take(self.buffer[:nbytes])

    def _take(self, data: bytes | memoryview) -> None:
        self.talk.take(self, data)
        self.moved += len(data)
        wake_at = min(WAKE_BYTES, self.talk.reader.expects) if self.target.tls is None else 1
        if wake_at != self.wake_at and not self.ended.done():
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wake_at)
            self.wake_at = wake_at


class Ndt7Upload(Upload):
    once: ClassVar[bool] = True
    answer: ClassVar[int] = 101

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.talk = Talk()
        self.size = LEAST_MESSAGE

    def begin(self) -> None:
        assert self.transport is not None
        self.transport.write(self.talk.hello(self.target, "up"))

    def answered(self, head: bytes, rest: bytes) -> None:
        refused = self.talk.check(self.target, head)
        if refused is not None:
            self.end(refused)
        else:
            self.talk.take(self, rest)
            self.feed()

    def data_received(self, data: bytes) -> None:
        if self.head is not None:
            self.take_head(data)
        elif not self.ended.done():
            self.talk.take(self, data)

    def push(self, transport: asyncio.Transport) -> None:
        """One message, masked without work: random bytes stay random under a random mask."""
        if self.size < len(self.block) and self.size <= self.moved // SCALE:
            self.size *= 2
        transport.writelines(
            [websocket_frames.head(websocket_frames.BINARY, self.size, os.urandom(4)), self.block[: self.size]]
        )
        self.moved += self.size


# ---------------------------------------------------------------- what it found


async def _corrected(_request: SpeedRequest, run: TransferPlan, result: DirectionResult) -> DirectionResult:
    """The protocol's own figure in the place of our slope; what others moved is added back to it as it was."""
    mbps = _mbps(run)
    if mbps is None:
        raise ProbeFailed("uncounted", "neither this kernel nor the server counts what an upload delivers")
    others = None if result.capacity_mbps is None or result.mbps is None else result.capacity_mbps - result.mbps
    capacity = None if others is None else mbps + others
    cross = round(100 * others / capacity, 2) if capacity and others is not None else None
    return replace(result, mbps=mbps, capacity_mbps=capacity, cross_pct=cross)


def _mbps(run: TransferPlan) -> float | None:
    """Mbit/s from the handshake to the end: bytes times eight over microseconds."""
    talk, moved, seconds = _talk(run)
    if run.streams.direction == "down":
        return moved * 8 / 1e6 / seconds
    for item in reversed(talk.measurements):
        for counted, elapsed in counts(item):
            if is_possible(counted, elapsed, moved, seconds):
                return counted * 8 / elapsed
    infos = run.streams.lanes[-1].info
    return infos[-1].acked * 8 / 1e6 / seconds if infos else None


def counts(item: Measurement) -> Iterator[tuple[int, float]]:
    """(bytes, microseconds) as the server counted them, its kernel's before its process's."""
    if item.tcp is not None and item.tcp.received is not None and item.tcp.elapsed is not None:
        yield item.tcp.received, item.tcp.elapsed
    if item.app is not None:
        yield item.app.bytes, item.app.elapsed


def is_possible(counted: int, elapsed: float, moved: int, seconds: float) -> bool:
    """Whether a server's count can be of this run: no more than was handed over here, and within its time by our own
    clock, since a server's clock may jump or count from another moment."""
    return counted <= moved * OVERHEAD and LEAST_SHARE * seconds <= elapsed / 1e6 <= MOST_SHARE * seconds + SLACK_S


def _talk(run: TransferPlan) -> tuple[Talk, int, float]:
    """The measurements of the stream that ran, the bytes it had moved at the last sample, and the seconds until
    then."""
    stream, lane = run.streams.opened[-1]
    assert isinstance(stream, Ndt7Download | Ndt7Upload)
    return stream.talk, lane.moved[-1], max(1e-3, run.streams.times_s[-1] - stream.talk.opened_s)


def _sums_up(runs: Mapping[Direction, TransferPlan], throughput: Throughput) -> Throughput:
    """With the server's round trips, and its share of bytes sent again as loss."""
    down, up = (_talk(runs[direction])[0].measurements for direction in ("down", "up"))
    least = [item.tcp.min_rtt for item in (*down, *up) if item.tcp is not None and item.tcp.min_rtt]
    return replace(
        throughput,
        idle_rtt_ms=min(least) / 1000 if least else throughput.idle_rtt_ms,
        loaded_rtt_down_ms=_loaded_ms(down) or throughput.loaded_rtt_down_ms,
        loaded_rtt_up_ms=_loaded_ms(up) or throughput.loaded_rtt_up_ms,
        loss_pct=_resent_pct(down),
    )


def _loaded_ms(measurements: list[Measurement]) -> float | None:
    rtts = [item.tcp.rtt for item in measurements if item.tcp is not None and item.tcp.rtt]
    return round(statistics.median(rtts) / 1000, 3) if rtts else None


def _resent_pct(measurements: list[Measurement]) -> float | None:
    for item in reversed(measurements):
        if item.tcp is not None and item.tcp.sent and item.tcp.retransmitted is not None:
            return round(min(100.0, 100 * item.tcp.retransmitted / item.tcp.sent), 3)
    return None


PROTOCOL = phases.Protocol(
    name=NAME,
    kinds={"down": Ndt7Download, "up": Ndt7Upload},
    find=_find,
    corrected=_corrected,
    sums_up=_sums_up,
)
