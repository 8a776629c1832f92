"""Runs the probes when the schedule says, and hands on what they return: stamped, whole, fit for the wire.

A probe may fail, hang or break: that is a reading with its cause, and the others go on. Light probes make one round a
cycle and one commit; UPSs are watched apart (agent.power), and their quiet looks come along with the round. The link
probe and a speed test never run at once: each would measure the other.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from agent import schedule, wire
from agent.config import Settings, Ups
from agent.identity import write_atomically
from agent.power import PowerWatch, SelfTestBook, StartTest
from agent.probes import start_self_test
from agent.probes.probe import Context, Probe, ProbeFailed
from agent.spool_record import Value

log = logging.getLogger(__name__)

DEADLINE_S = {"link": 45.0, "speed": 240.0, "ups": 8.0, "seats": 10.0, "gateway": 20.0}
QUIET = frozenset({"settling"})  # causes that are no news: the probe has simply not begun to know
LOOK_S = 10.0  # between two looks at the slots: short, because the wall clock may jump
START_PAUSE_S = 3.0  # before the test at start, so that the first round's figures are there to see
BOOK_FILE = "speed.json"
SLOTS_KEY_FILE = "slots.key"

Keep = Callable[[Sequence[wire.Reading], Value], Awaitable[None]]
Stamp = Callable[[], wire.Stamp]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the rounds work with. ``enrich`` completes readings with what only the service knows."""

    settings: Settings
    device: str
    context: Context
    probes: Mapping[str, Probe]
    stamp: Stamp
    keep: Keep
    enrich: Callable[[wire.Reading], wire.Reading]
    start_test: StartTest = start_self_test


async def measure(kind: str, probe: Probe, context: Context, stamp: Stamp) -> list[wire.Reading]:
    """What the probe returned, stamped; its failure as a reading. Raises nothing but cancellation."""
    try:
        async with asyncio.timeout(context.deadline_s):
            readings = await probe(context)
    except ProbeFailed as error:
        readings = [failed(kind, error.cause, error.detail)]
    except TimeoutError:
        readings = [failed(kind, "timeout", f"the {kind} probe did not end within {context.deadline_s:g} s")]
    except Exception as error:  # a probe may break on anything it meets; the others must go on
        log.exception("the %s probe broke", kind)
        readings = [failed(kind, "broken", f"{type(error).__name__}: {error}")]
    return [fit(kind, msgspec.structs.replace(reading, at=reading.at or stamp())) for reading in readings]


def failed(kind: str, cause: str, detail: str, subject: str = "") -> wire.Reading:
    return wire.KINDS[kind](subject=subject[:64], failure=wire.Failure(cause[:64] or "unknown", detail[:200]))


def fit(kind: str, reading: wire.Reading) -> wire.Reading:
    """The reading, or a failure in its place when the other end would refuse it."""
    try:
        return wire.decode_reading(wire.encode_reading(reading))
    except wire.WireError as error:
        log.error("a reading breaks the contract: %s", error)
        return msgspec.structs.replace(failed(kind, "broken", str(error)), at=reading.at)


class SpeedLedger:
    """The book of speed tests and the secret of their slots, in two small files. Without a disk both live in memory."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self._path = state_dir / BOOK_FILE
        self.secret = self._load_secret(state_dir / SLOTS_KEY_FILE)
        self.book = self._load_book()

    def keep(self, book: schedule.SpeedBook) -> None:
        self.book = book
        self._save(self._path, msgspec.json.encode(book))

    def _load_book(self) -> schedule.SpeedBook:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=schedule.SpeedBook)
        except FileNotFoundError:
            return schedule.SpeedBook()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s: cannot be read (%s); this month's tests are counted from now", self._path, error)
            return schedule.SpeedBook()

    def _load_secret(self, path: Path) -> bytes:
        try:
            if len(known := path.read_bytes()) == 32:
                return known
        except OSError as error:
            log.debug("%s: %s", path, error)
        fresh = secrets.token_bytes(32)
        self._save(path, fresh)
        return fresh

    def _save(self, path: Path, content: bytes) -> None:
        try:
            write_atomically(path, content)
        except OSError as error:
            log.warning("%s: cannot be written (%s); kept in memory", path, error)


class Rounds:
    """All measuring of one gateway. `run` ends only when cancelled."""

    def __init__(self, parts: Parts, ledger: SpeedLedger) -> None:
        self._parts = parts
        self._ledger = ledger
        self._quiet = asyncio.Lock()  # held by whoever needs the line for itself
        self.power = PowerWatch(
            parts.settings.ups,
            device=parts.device,
            look=self._look_at_ups,
            keep=parts.keep,
            start_test=parts.start_test,
            book=SelfTestBook(ledger.state_dir),
        )
        self._tasks: asyncio.Queue[wire.Task] = asyncio.Queue(maxsize=8)
        self.last_round_s = time.monotonic()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cycle())
            group.create_task(self._obey())
            if self._parts.settings.ups:
                group.create_task(self.power.run())
            if self._parts.settings.speed.enabled:
                group.create_task(self._test_speed())

    def obey(self, task: wire.Task) -> None:
        """Takes a task of the collector; with too many waiting, it is left to expire."""
        try:
            self._tasks.put_nowait(task)
        except asyncio.QueueFull:
            log.warning("task %s is left: too many wait already", task.id)

    # ------------------------------------------------------------ the round

    async def _cycle(self) -> None:
        cycle_s = self._parts.settings.agent.cycle_s
        phase = schedule.phase_s(self._parts.device, cycle_s)
        while True:
            await self.round()
            self.last_round_s = time.monotonic()
            await asyncio.sleep(schedule.next_round_s(self.last_round_s, cycle_s, phase) - self.last_round_s)

    async def round(self) -> None:
        """One round of all light probes and one commit."""
        kinds = ["link", "gateway", *(["seats"] if self._parts.settings.seats.enabled else [])]
        taken = await asyncio.gather(*map(self._measure, kinds))
        readings = [reading for some in taken for reading in some]
        readings += self.power.news()
        if readings:
            await self._parts.keep(readings, schedule.value_of(readings))

    async def _measure(self, kind: str) -> list[wire.Reading]:
        if kind == "link":
            async with self._quiet:
                return await self._once(kind, self._parts.context)
        return await self._once(kind, self._parts.context)

    async def _once(self, kind: str, context: Context) -> list[wire.Reading]:
        deadline = replace(context, deadline_s=DEADLINE_S[kind])
        readings = await measure(kind, self._parts.probes[kind], deadline, self._parts.stamp)
        told = [reading for reading in readings if reading.failure is None or reading.failure.cause not in QUIET]
        return [self._parts.enrich(reading) for reading in told]

    async def _look_at_ups(self, ups: Ups) -> list[wire.Reading]:
        """The probe sees this UPS alone: a slow one does not hold up another."""
        alone = msgspec.structs.replace(self._parts.context.settings, ups=[ups])
        return await self._once("ups", replace(self._parts.context, settings=alone))

    # ------------------------------------------------------------ speed

    async def _test_speed(self) -> None:
        speed = self._parts.settings.speed
        if speed.at_start and schedule.start_test_due(self._ledger.book, self._parts.stamp().wall_ms):
            await asyncio.sleep(START_PAUSE_S)
            await self.speed_test("routine")
        while True:
            now_ms = self._parts.stamp().wall_ms
            plan = schedule.plan_day(now_ms, speed.slots, self._parts.device, self._ledger.secret)
            book = self._ledger.book.at(now_ms)
            slot = schedule.due_slot(plan, book.done, now_ms)
            if slot is not None:
                # Ticked before the test: a test that brings the agent down must not run at every start.
                await asyncio.to_thread(self._ledger.keep, book.ticked(slot))
                await self.speed_test("routine")
            await asyncio.sleep(LOOK_S)

    async def speed_test(self, purpose: str, server: str = "", token: str = "") -> None:
        """One speed test, or the reason why there is none; either way a reading."""
        settings = self._parts.settings
        if server:
            settings = msgspec.structs.replace(settings, speed=msgspec.structs.replace(settings.speed, server=server))
        at_home = schedule.is_self_test(settings.speed.server or self._parts.context.measure_url or "")
        context = replace(
            self._parts.context,
            settings=settings,
            purpose="self-test" if at_home else purpose,
            test_token=token,
        )
        book = self._ledger.book.at(self._parts.stamp().wall_ms)
        if not at_home and schedule.may_test(book, settings.speed.monthly_budget_mb) == "budget":
            await self._parts.keep([self._skipped(book, context.purpose)], "normal")
            return
        async with self._quiet:
            readings = await self._once("speed", context)
        await self._charge(readings, at_home=at_home)
        await self._parts.keep([_named(reading, context.purpose) for reading in readings], "normal")

    async def _charge(self, readings: Sequence[wire.Reading], *, at_home: bool) -> None:
        moved = sum(reading.bytes_total or 0 for reading in readings if isinstance(reading, wire.SpeedReading))
        now_ms = self._parts.stamp().wall_ms
        await asyncio.to_thread(
            self._ledger.keep, self._ledger.book.at(now_ms).charged(0 if at_home else moved, now_ms)
        )

    def _skipped(self, book: schedule.SpeedBook, purpose: str) -> wire.Reading:
        budget_mb = self._parts.settings.speed.monthly_budget_mb
        why = (
            f"{book.bytes / 1e6:.0f} of {budget_mb} MB are used this month and the last test took "
            f"{book.last_bytes / 1e6:.0f}; raise [speed] monthly_budget_mb"
        )
        reading = msgspec.structs.replace(failed("speed", "budget", why), at=self._parts.stamp())
        return _named(reading, purpose)

    # ------------------------------------------------------------ the collector's tasks

    async def _obey(self) -> None:
        while True:
            task = await self._tasks.get()
            if task.expires_ms <= self._parts.stamp().wall_ms:
                log.warning("task %s expired before it could be done", task.id)
            elif task.do == "speed":
                await self.speed_test("desk", task.server, task.token)
            elif task.probe is not None and task.probe in self._parts.probes:
                await self._parts.keep(await self._measure(task.probe), "normal")
            else:
                log.warning("task %s asks for a probe that is not here: %s", task.id, task.probe)


def _named(reading: wire.Reading, purpose: str) -> wire.Reading:
    """A speed reading says what it was run for, also when it failed."""
    if not isinstance(reading, wire.SpeedReading) or purpose == reading.purpose:
        return reading
    return msgspec.convert({**msgspec.to_builtins(reading), "purpose": purpose}, wire.SpeedReading)
