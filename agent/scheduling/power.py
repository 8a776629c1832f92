"""Watches every UPS: how often it is polled, what must not wait, and what is reported when it stops answering.

1. Each UPS has a watch of its own: every `poll_s` on mains, every 2 s on battery, at once after a trap.
2. `update_known` turns a poll into what is kept: a UPS that does not answer is unreadable since the first failed poll;
   one whose values stand still on battery is not believed; a last gasp is reported once per reason and discharge.
   "Low" and a short runtime are urgent from the second poll that shows them, unless the charge contradicts, and never
   in a test while the mains is there.
3. On mains unchanged polls wait for the round. Changes do not, and on battery nothing does: power may end any second.
4. Battery self-tests, where the settings ask for them, start by night; the book of them is written before the test.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from agent.common.files import write_atomically
from agent.common.logs import Event
from agent.common.power import LEAST_MAINS_V, has_plenty
from agent.config import UpsSection
from agent.probes.probe import ProbeFailed, failure
from agent.scheduling import schedule
from agent.scheduling.speed_plan import Supply
from agent.spool.record import Value
from agent.wire import Reading, UpsReading

UNSAVED = Event(
    __name__, "warning", "self_tests_unsaved", "the times of battery self-tests cannot be written; they are kept in "
    "memory", fields="file error",
)  # fmt: skip
UNREADABLE = Event(
    __name__, "warning", "self_tests_unreadable", "the times of battery self-tests cannot be read; they count from now",
    fields="file error",
)  # fmt: skip
STARTED = Event(__name__, "info", "self_test_started", "a battery self-test was started", key="ups")
NOT_STARTED = Event(
    __name__, "warning", "self_test_refused", "a battery self-test was not started", key="ups", fields="code error"
)

MIN_PAUSE_S = 0.5  # between two polls, however often a trap comes
KEEP_ON_BATTERY_S = 10.0
FROZEN_MS = 600_000  # on battery for so long without any value moving: a card that repeats itself
SHORT_RUNTIME_S = 120.0  # some UPSs never report "low"
SETTLE_MS = 15_000  # after the start of a test a UPS may show the result of the one before for so long
MAX_TEST_MS = 1_800_000  # a UPS that reports a test for longer is on battery all the same
BOOK_FILE = "self-tests.json"

Poll = Callable[[UpsSection], Awaitable[Sequence[Reading]]]
Keep = Callable[[Sequence[Reading], Value], Awaitable[None]]
StartTest = Callable[[UpsSection], Awaitable[None]]
Gasp = Literal["battery_low", "runtime_short", "comms_lost"]


# ---------------------------------------------------------------- what a poll shows: pure


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of one UPS. ``good`` is the last readable one, ``gasped`` the last gasps sent of this discharge."""

    last: UpsReading | None = None
    good: UpsReading | None = None
    unreadable_since_ms: int | None = None
    moved: UpsReading | None = None  # the first reading whose values are those of `good`
    gasped: frozenset[Gasp] = frozenset()
    testing: UpsReading | None = None  # the first reading of the battery test that runs
    warned: bool = False  # the last poll, on battery, showed a battery near its end

    @property
    def on_battery(self) -> bool:
        return self.good is not None and self.good.output_state == "battery"


def update_known(known: Known, reading: UpsReading) -> tuple[Known, UpsReading]:
    """(what is known now, the reading to keep). The reading must be stamped."""
    at = reading.at
    assert at is not None
    testing = (known.testing or reading) if reading.self_test == "running" else None
    if testing is not None and not _is_test(testing, reading):
        reading = msgspec.structs.replace(reading, self_test=None)
    moved = known.moved if known.moved and _values(known.moved) == _values(reading) else reading
    if frozen_since_ms := _frozen_since_ms(moved, reading):
        why = "on battery, but no value moves: the card repeats itself"
        since_ms = known.unreadable_since_ms or frozen_since_ms
        reading = UpsReading(at=at, subject=reading.subject, failure=failure("frozen", why))
    else:
        since_ms = known.unreadable_since_ms or at.wall_ms
    if reading.failure is not None:
        reading = msgspec.structs.replace(reading, unreadable_since_ms=since_ms)
        moved = known.moved or moved
    on_battery = known.on_battery if reading.failure else reading.output_state == "battery"
    gasped = known.gasped if on_battery else frozenset[Gasp]()
    gasp = _gasp(reading, known.last) if on_battery else None
    warned = gasp in ("battery_low", "runtime_short")
    if gasp is not None and gasp not in gasped and (known.warned or not warned):
        reading, gasped = msgspec.structs.replace(reading, last_gasp=gasp), gasped | {gasp}
    readable = reading.failure is None
    after = Known(
        last=reading,
        good=reading if readable else known.good,
        unreadable_since_ms=None if readable else since_ms,
        moved=moved,
        gasped=gasped,
        testing=testing,
        warned=warned,
    )
    return after, reading


def _is_test(first: UpsReading, reading: UpsReading) -> bool:
    """Whether a UPS that reports a test is on battery for that test alone. A cut of the mains in the middle of one is
    none, and a card whose test never ends must not hide the next cut; a calibration may last while the mains is seen.
    """
    if reading.output_state != "battery" or first.at is None or reading.at is None:
        return True
    if reading.input_voltage_v is not None:
        return reading.input_voltage_v >= LEAST_MAINS_V
    same_boot = first.at.boot == reading.at.boot
    return not (same_boot and reading.at.mono_ms - first.at.mono_ms > MAX_TEST_MS)


def _gasp(reading: UpsReading, last: UpsReading | None) -> Gasp | None:
    """Why the power may go any moment, of a UPS on battery. A number that has never moved is not believed against a
    charge that contradicts it."""
    if reading.failure is not None:
        return "comms_lost"
    if reading.self_test == "running":
        return None
    runtime = reading.runtime_s
    plenty = has_plenty(reading.battery_charge_pct, runtime)
    if reading.battery_status in ("low", "depleted") and not plenty:
        return "battery_low"
    if runtime is None or runtime > SHORT_RUNTIME_S:
        return None
    falls = last is not None and last.runtime_s is not None and runtime < last.runtime_s <= SHORT_RUNTIME_S
    return "runtime_short" if falls or not plenty else None


def _values(reading: UpsReading) -> tuple[object, ...]:
    return (
        reading.output_state,
        reading.on_battery_s,
        reading.battery_charge_pct,
        reading.runtime_s,
        reading.battery_voltage_v,
        reading.load_pct,
        reading.output_voltage_v,
    )


def _frozen_since_ms(moved: UpsReading, reading: UpsReading) -> int | None:
    """Since when a UPS on battery repeats itself. Only one that counts its seconds on battery can be caught: those
    must move; a coarse charge or voltage need not."""
    if reading.output_state != "battery" or not reading.on_battery_s or moved.at is None or reading.at is None:
        return None
    same_boot = moved.at.boot == reading.at.boot
    return moved.at.wall_ms if same_boot and reading.at.mono_ms - moved.at.mono_ms >= FROZEN_MS else None


# ---------------------------------------------------------------- the book of self-tests


class SelfTest(msgspec.Struct, frozen=True):
    """The last self-test that the agent started at a UPS (milliseconds UTC), and whether it was refused."""

    at_ms: int
    refused: bool = False


class SelfTestBook:
    """One small file in the state folder. Without a disk it lives in memory."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / BOOK_FILE
        self._tests = self._load()

    def of(self, name: str) -> SelfTest | None:
        return self._tests.get(name)

    def record(self, name: str, test: SelfTest) -> None:
        self._tests = {**self._tests, name: test}
        try:
            write_atomically(self._path, msgspec.json.encode(self._tests))
        except OSError as error:
            UNSAVED.log(file=self._path, error=error)

    def _load(self) -> Mapping[str, SelfTest]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, SelfTest])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            UNREADABLE.log(file=self._path, error=error)
            return {}


# ---------------------------------------------------------------- the watch


@dataclass
class _Watched:
    ups: UpsSection
    known: Known = field(default_factory=Known)
    kept: UpsReading | None = None
    trap_received: asyncio.Event = field(default_factory=asyncio.Event)
    trap_s: float | None = None  # monotonic seconds
    kept_s: float = 0.0
    polled_s: float = 0.0  # when `known.last` was read


class PowerWatch:
    """All UPSs of one gateway. `run` ends only when cancelled."""

    def __init__(
        self,
        upses: Sequence[UpsSection],
        *,
        device: str,
        poll: Poll,
        keep: Keep,
        start_test: StartTest,
        book: SelfTestBook,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = {ups.name: _Watched(ups) for ups in upses}
        self._device = device
        self._poll = poll
        self._keep = keep
        self._start_test = start_test
        self._book = book
        self._now_s = now_s

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for watched in self._watched.values():
                group.create_task(self._watch(watched))

    def trap_received(self, name: str) -> None:
        """A trap came from a UPS: it is polled as soon as the pause since the last poll allows."""
        if watched := self._watched.get(name):
            watched.trap_s = self._now_s()
            watched.trap_received.set()

    def shown(self) -> Iterator[tuple[str, UpsReading | None, float, bool]]:
        """Of each UPS: its name, its last reading, how many seconds ago that was, and whether its battery is at its
        end."""
        for name, watched in self._watched.items():
            known = watched.known
            ends = known.on_battery and bool(known.gasped & {"battery_low", "runtime_short"})
            yield name, known.last, self._now_s() - watched.polled_s, ends

    @property
    def supply(self) -> Supply:
        """What feeds the center: ``low`` once a UPS on battery has reported that it is nearly empty."""
        discharging = [watched.known for watched in self._watched.values() if watched.known.on_battery]
        if any(known.gasped & {"battery_low", "runtime_short"} for known in discharging):
            return "low"
        return "battery" if discharging else "mains"

    def news(self) -> list[Reading]:
        """What was read since the last round and is not yet kept; the caller keeps it."""
        fresh: list[Reading] = []
        for watched in self._watched.values():
            if watched.known.last is not None and watched.kept is not watched.known.last:
                watched.kept = watched.known.last
                fresh.append(watched.kept)
        return fresh

    async def _watch(self, watched: _Watched) -> None:
        while True:
            began_s = self._now_s()
            watched.trap_received.clear()
            await self.poll(watched.ups.name)
            await self._test_battery(watched)
            await asyncio.sleep(max(0.0, began_s + MIN_PAUSE_S - self._now_s()))
            next_s = began_s + self._interval(watched).every_s
            try:
                async with asyncio.timeout(max(0.0, next_s - self._now_s())):
                    await watched.trap_received.wait()
            except TimeoutError:
                continue

    def _interval(self, watched: _Watched) -> schedule.PollInterval:
        known, now_s = watched.known, self._now_s()
        dark_ms = None
        if known.unreadable_since_ms is not None and known.last is not None and known.last.at is not None:
            dark_ms = known.last.at.wall_ms - known.unreadable_since_ms
        return schedule.ups_poll_interval(
            watched.ups.poll_s,
            on_battery=known.on_battery,
            dark_s=None if dark_ms is None else dark_ms / 1000,
            trap_s=None if watched.trap_s is None else now_s - watched.trap_s,
        )

    async def poll(self, name: str) -> None:
        """Polls one UPS; what must not wait is kept before this returns."""
        watched = self._watched[name]
        for reading in await self._poll(watched.ups):
            if isinstance(reading, UpsReading) and reading.subject in ("", name):
                await self._take(watched, self._tested(msgspec.structs.replace(reading, subject=name)))

    async def _take(self, watched: _Watched, reading: UpsReading) -> None:
        before = watched.known.last
        watched.known, reading = update_known(watched.known, reading)
        watched.polled_s = self._now_s()
        urgent = schedule.ups_changed(before, reading) or reading.last_gasp is not None
        stale = self._now_s() - watched.kept_s >= KEEP_ON_BATTERY_S
        if urgent or (watched.known.on_battery and stale):
            watched.kept, watched.kept_s = reading, self._now_s()
            await self._keep([reading], "high" if urgent else "normal")

    # ------------------------------------------------------------ self-tests

    def _tested(self, reading: UpsReading) -> UpsReading:
        test = self._book.of(reading.subject)
        if test is None or reading.failure is not None:
            return reading
        result = "refused" if test.refused else reading.self_test
        if not test.refused and reading.at is not None and reading.at.wall_ms - test.at_ms < SETTLE_MS:
            runs = reading.self_test == "running" or reading.output_state == "battery"
            result = "running" if runs else None
        return msgspec.structs.replace(reading, self_test=result, self_test_ms=test.at_ms)

    async def _test_battery(self, watched: _Watched) -> None:
        ups, reading = watched.ups, watched.known.last
        last = self._book.of(ups.name)
        permit = schedule.may_self_test(ups.self_test, last.at_ms if last else 0, self._device + ups.name, reading)
        if permit != "yes" or reading is None or reading.at is None:
            return
        test = SelfTest(reading.at.wall_ms)
        # Noted before the test: a battery that fails it takes this machine down, and must not do so every night.
        await asyncio.to_thread(self._book.record, ups.name, test)
        try:
            await self._start_test(ups)
        except ProbeFailed as error:
            NOT_STARTED.log(ups=ups.name, code=error.cause, error=error.detail)
            await asyncio.to_thread(self._book.record, ups.name, msgspec.structs.replace(test, refused=True))
        else:
            STARTED.log(ups=ups.name)
            self.trap_received(ups.name)  # its course is followed as closely as after a trap
