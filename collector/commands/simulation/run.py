"""The play itself: measure on each center's minute, write down what is promised, send, forget on receipts."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import wire
from collector.commands.simulation import readings
from collector.commands.simulation.gateway import Gateway
from collector.commands.simulation.line import SimulatedSession, open_lines
from collector.commands.simulation.readings import MINUTE_MS
from collector.commands.simulation.trouble import Stage
from collector.commands.simulation.truth import Truth
from collector.commands.simulation.witness import CHEATS, SimulatedServer
from collector.register import opening_hours

TICK_S = 0.25
SETTLE_S = 120.0  # how long the end waits for the last receipts
SETTLE_STOPPED_S = 5.0
REBOOT_MS = 20_000  # from the kernel's start to the agent's


@dataclass(frozen=True, kw_only=True)
class SimulatedClock:
    """Simulated time: it begins at `start_ms` and passes `speedup` times as fast as the clock on the wall."""

    start_ms: int
    began_s: float
    speedup: float = 1.0

    def now_ms(self, now_s: float) -> int:
        return self.start_ms + int((now_s - self.began_s) * 1000 * self.speedup)


@dataclass(kw_only=True)
class Counts:
    """Readings, except `batches` and the last three."""

    taken: int = 0
    batches: int = 0
    receipted: int = 0
    set_aside: int = 0
    stale_receipts: int = 0
    forked_receipts: int = 0
    bad_receipts: int = 0


@dataclass(kw_only=True)
class Play:
    """A fleet on stage. Nothing here reads a clock: `measure`, `send` and `receive` are told the time."""

    fleet: dict[str, Gateway]  # by device
    stage: Stage
    truth: Truth
    collector_key: Ed25519PublicKey
    server: SimulatedServer | None = None  # where its gateways test; None: nowhere that anybody would believe
    counts: Counts = field(default_factory=Counts)
    over: bool = False
    _due: list[tuple[int, str]] = field(default_factory=list)

    def begin(self, start_ms: int) -> None:
        """Give every gateway its place in the minute."""
        for device, gateway in self.fleet.items():
            first_ms = start_ms + int(gateway.center.phase * MINUTE_MS)
            heapq.heappush(self._due, (first_ms, device))

    def measure(self, now_ms: int) -> None:
        """Everything due until now, and the promises of it on the disk's side of the file."""
        for trouble in self.stage.extend(now_ms + 1):
            self.truth.trouble(trouble)
        while self._due and self._due[0][0] <= now_ms:
            at_ms, device = heapq.heappop(self._due)
            self._minute(self.fleet[device], at_ms)
            heapq.heappush(self._due, (at_ms + MINUTE_MS, device))
        self.truth.flush()

    def send(self, now_ms: int, now_s: float, lines: dict[str, SimulatedSession]) -> None:
        for device, gateway in self.fleet.items():
            if gateway.waiting and lines[device].up and self._reachable(gateway, now_ms):
                payload = gateway.next_batch(now_ms, now_s)
                if payload is not None:
                    self.counts.batches += 1
                    lines[device].publish(wire.batch_topic(device), payload)

    def receive(self, device: str, payload: bytes, now_ms: int, now_s: float) -> None:
        """A receipt; one that comes while its gateway is dark or cut off is lost, as it would be."""
        gateway = self.fleet.get(device)
        if gateway is None or not self._reachable(gateway, now_ms):
            return
        try:
            body, signature = wire.unseal(payload, wire.MAX_SMALL_BYTES)
            self.collector_key.verify(signature, body)
            receipt = wire.decode_receipt(body)
        except (wire.WireError, InvalidSignature):
            self.counts.bad_receipts += 1
            return
        before = len(gateway.waiting)
        answer = gateway.take_receipt(receipt, now_s)
        self.counts.receipted += before - len(gateway.waiting)
        self.counts.set_aside += (before - len(gateway.waiting)) * (answer == "set_aside")
        self.counts.stale_receipts += answer == "stale"
        self.counts.forked_receipts += answer == "forked"

    def waiting(self) -> int:
        return sum(len(gateway.waiting) for gateway in self.fleet.values())

    def unsettled(self) -> bool:
        """Whether a reading lacks its receipt, or a test its record."""
        return bool(self.waiting() or (self.server and self.server.waiting))

    def _reachable(self, gateway: Gateway, now_ms: int) -> bool:
        if self.over:
            return True
        return not self.stage.dark(gateway.center, now_ms) and not self.stage.offline(gateway.center, now_ms)

    def _minute(self, gateway: Gateway, at_ms: int) -> None:
        center = gateway.center
        if dark := self.stage.dark(center, at_ms):
            gateway.dark = dark[2]
            return
        if gateway.dark:
            if gateway.dark != "killed":
                gateway.boot_ms = at_ms - REBOOT_MS
            self._keep(gateway, readings.boot(gateway.dark, gateway.last_alive_ms, at_ms), at_ms)
            gateway.dark = None
        is_open = opening_hours.is_open(opening_hours.parse(center.opening), at_ms)
        for reading in readings.minute_of(center, at_ms, self.stage, is_open, gateway.boot_ms):
            self._keep(gateway, self._tested(gateway, reading, at_ms), at_ms)
        gateway.last_alive_ms = at_ms

    def _tested(self, gateway: Gateway, reading: wire.Reading, at_ms: int) -> wire.Reading:
        if self.server is None or not isinstance(reading, wire.SpeedReading):
            return reading
        code = gateway.center.code
        cheat = next((what for what in CHEATS if self.stage.of(code, what, at_ms)), None)
        return self.server.test(gateway, reading, at_ms, cheat)

    def _keep(self, gateway: Gateway, reading: wire.Reading, at_ms: int) -> None:
        error_ms = self.stage.clock_error_ms(gateway.center, at_ms)
        at = readings.stamp(gateway.center, at_ms, gateway.boot_ms, error_ms)
        self.truth.promise(gateway, gateway.keep(msgspec.structs.replace(reading, at=at), at_ms))
        self.counts.taken += 1


async def perform(
    play: Play,
    broker: tuple[str, int],
    pace: SimulatedClock,
    until_ms: int | None,
    stop: asyncio.Event,
    tell: Callable[[str], None],
) -> None:
    """Until `until_ms` (or for ever) or `stop`; then everyone comes back and sends what they kept.

    After `stop` that has little time: who asked for the end waits for it, and what is left is kept for the next run.
    """

    def deliver(device: str, payload: bytes) -> None:
        now_s = time.monotonic()
        play.receive(device, payload, pace.now_ms(now_s), now_s)

    lines = open_lines(broker, list(play.fleet), deliver)
    reporting = asyncio.ensure_future(play.server.run(tell)) if play.server else None
    try:
        while not stop.is_set() and (until_ms is None or pace.now_ms(time.monotonic()) < until_ms):
            now_s = time.monotonic()
            play.measure(pace.now_ms(now_s))
            play.send(pace.now_ms(now_s), now_s, lines)
            tell(progress(play, pace.now_ms(now_s)))
            await _pause(stop, TICK_S)
        settle_s = SETTLE_STOPPED_S if stop.is_set() else SETTLE_S
        stop.clear()
        await _settle(play, lines, pace, stop, settle_s, tell)
    finally:
        if reporting is not None:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
        for line in set(lines.values()):
            line.close()


async def _settle(
    play: Play,
    lines: dict[str, SimulatedSession],
    pace: SimulatedClock,
    stop: asyncio.Event,
    settle_s: float,
    tell: Callable[[str], None],
) -> None:
    """Every trouble is over: wait until all that was promised is receipted, or the time is up, or a second Ctrl-C."""
    play.over = True
    began_s = time.monotonic()
    while (
        (play.waiting() or (play.server and play.server.waiting))
        and not stop.is_set()
        and time.monotonic() - began_s < settle_s
    ):
        now_s = time.monotonic()
        play.send(pace.now_ms(now_s), now_s, lines)
        tell("the last readings: " + progress(play, pace.now_ms(now_s)))
        await _pause(stop, TICK_S)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def progress(play: Play, now_ms: int) -> str:
    counts = play.counts
    return (
        f"{len(play.fleet)} simulated centers, {len(play.stage.troubled(now_ms))} in staged trouble; "
        f"readings: {counts.taken} taken, {counts.receipted} receipted, {play.waiting()} waiting"
    )
