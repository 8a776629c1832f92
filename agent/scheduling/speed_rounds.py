"""Runs the speed tests: when one is due, whether it may run, its grant by the collector, and what it cost.

The rules are those of `agent.scheduling.speed_plan`. Every slot ends in one reading: a test, or the reason why there
is none. A slot is ticked only then, so a restart while the line is busy or a grant is awaited does not lose it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from agent import wire
from agent.common.files import write_atomically
from agent.common.logs import Event
from agent.config import AgentSettings
from agent.probes.probe import Context, failure
from agent.probes.speed.line.idle_check import Load
from agent.probes.target import is_self_test
from agent.scheduling import cross_check, speed_plan
from agent.scheduling.speed_plan import Mode, RunTest, SkipTest, Slot, SpeedBook, Supply, TestConditions
from agent.scheduling.test_requests import RETRY_S, TestRequests
from agent.spool.record import Value

UNREADABLE = Event(
    __name__, "warning", "speed_tests_unreadable", "the count of this month's speed tests cannot be read; they count "
    "from now", fields="file error",
)  # fmt: skip
UNSAVED = Event(
    __name__, "warning", "speed_tests_unsaved", "what speed tests used cannot be written; it is kept in memory",
    key="file", fields="error",
)  # fmt: skip
NEW_SECRET = Event(__name__, "debug", "slots_key_made", "the key of the test slots is made anew", fields="file error")
SKIPPED = Event(__name__, "info", "speed_test_skipped", "a speed test is not run", key="code", fields="detail")

NOT_CROSS_CHECKED = Event(
    __name__, "info", "engines_not_compared", "another speed engine is not tried: the month's budget does not pay for "
    "it", fields="engine bytes",
)  # fmt: skip

FETCHED = Event(__name__, "info", "file_fetched", "a file of the collector was fetched and thrown away", fields="bytes")
FETCH_SKIPPED = Event(
    __name__, "info", "file_skipped", "a file of the collector is not fetched: a metered line, or the month's budget",
    fields="bytes",
)  # fmt: skip
FETCH_FAILED = Event(__name__, "info", "file_failed", "a file of the collector was not fetched whole", fields="error")

# Such a test is of no schedule that a month's verdict counts; older collectors know no word of its own for it.
CROSS_CHECK: wire.Purpose = "manual"
BOOK_FILE = "speed.json"
SLOTS_KEY_FILE = "slots.key"


class SpeedLedger:
    """The book of speed tests and the secret of their slots, in two small files. Without a disk both live in memory."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self._path = state_dir / BOOK_FILE
        self.secret = self._load_secret(state_dir / SLOTS_KEY_FILE)
        self.book = self._load_book()
        self._written = self.book  # what a start would find

    def save(self, book: SpeedBook) -> None:
        """Each writing costs a card two syncs, so what it has is not written again."""
        self.book = book
        if book != self._written and self._save(self._path, msgspec.json.encode(book)):
            self._written = book

    def _load_book(self) -> SpeedBook:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=SpeedBook)
        except FileNotFoundError:
            return SpeedBook()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            UNREADABLE.log(file=self._path, error=error)
            return SpeedBook()

    def _load_secret(self, path: Path) -> bytes:
        try:
            if len(known := path.read_bytes()) == 32:
                return known
        except OSError as error:
            NEW_SECRET.log(file=path, error=error)
        fresh = secrets.token_bytes(32)
        self._save(path, fresh)
        return fresh

    def _save(self, path: Path, content: bytes) -> bool:
        """Whether it is on disk."""
        try:
            write_atomically(path, content)
        except OSError as error:
            UNSAVED.log(file=path, error=error)
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds between two polls of the slots (short: the time may be learnt meanwhile), before the test at start (so
    that the time is known by then, and the first round's figures exist), over which the line's load is measured,
    between two such measurements, between two requests.
    """

    poll_s: float = 10.0
    start_pause_s: float = 3.0
    load_window_s: float = 3.0
    busy_retry_s: float = 60.0
    request_retry_s: float = RETRY_S


@dataclass(frozen=True, kw_only=True)
class SpeedContext:
    """What tests work with. ``now_ms`` goes on by a monotonic clock once a receipt has given the time: slots and
    grants are kept by it, so a wall clock that jumps neither repeats nor skips one. ``measure`` runs one probe;
    ``line`` is held by whatever needs the line for itself; ``load`` measures the line for so many seconds; ``moved``
    counts its bytes, both directions; ``fetch`` gets a file of the collector."""

    settings: AgentSettings
    device: str
    context: Context
    stamp: Callable[[], wire.Stamp]
    now_ms: Callable[[], int]
    keep: Callable[[Sequence[wire.Reading], Value], Awaitable[None]]
    measure: Callable[[str, Context], Awaitable[list[wire.Reading]]]
    line: asyncio.Lock
    supply: Callable[[], Supply]
    failover: Callable[[], bool]
    load: Callable[[float], Awaitable[Load | None]]
    moved: Callable[[], int | None]
    send_ask: Callable[[wire.Ask], None]
    fetch: Callable[[wire.FetchOrder], int] = lambda _order: 0


class SpeedRounds:
    """All speed tests of one gateway, one at a time."""

    def __init__(self, parts: SpeedContext, ledger: SpeedLedger, timing: Timing | None = None) -> None:
        self._parts = parts
        self._ledger = ledger
        self._timing = timing or Timing()
        self._one_at_a_time = asyncio.Lock()
        self._requests = TestRequests(parts.device, parts.send_ask, self._now_ms, self._timing.request_retry_s)

    async def run(self) -> None:
        """Ends only when cancelled."""
        speed = self._parts.settings.speed
        if speed.at_start:
            await asyncio.sleep(self._timing.start_pause_s)
            if speed_plan.start_test_due(self._ledger.book, self._now_ms()):
                await self.due("routine")
        while True:
            now_ms = self._now_ms()
            plan = speed_plan.plan_day(now_ms, speed.slots, self._parts.device, self._ledger.secret)
            # The book as of the same moment: a moment later, past midnight, it has forgotten the day of the plan.
            book = self._ledger.book.at(now_ms)
            slot = speed_plan.due_slot(speed_plan.after_drawn(plan, book, now_ms), book.done, now_ms)
            if slot is not None:
                await self.due("routine", slot)
            await asyncio.sleep(self._timing.poll_s)

    async def due(self, purpose: wire.Purpose, slot: Slot | None = None) -> None:
        """A test of the gateway's own schedule: decided, deferred while the line is busy, granted."""
        task = None
        if not self._is_own_server() and isinstance(self._decide(purpose, slot), RunTest):
            await self._wait_for_idle_line(slot)
            task = await self._request_test(purpose, slot)
        await self._test(purpose, slot, task)
        if slot is not None:
            await self._cross_check(slot)

    async def run_task(self, task: wire.Task) -> None:
        """A test that the collector wants now, without a request; one that it drew for a slot is that slot's test."""
        slot = None
        if task.slot:
            await self._save_book(msgspec.structs.replace(self._book(), drawn_ms=self._now_ms()))
            plan = speed_plan.plan_day(
                self._now_ms(), self._parts.settings.speed.slots, self._parts.device, self._ledger.secret
            )
            slot = speed_plan.running_slot(plan, task.slot, self._book().done)
        await self._test(task.purpose, slot, task)

    def accept(self, task: wire.Task) -> bool:
        """Whether the task grants a request of ours."""
        return self._requests.accept(task)

    # ------------------------------------------------------------ before the test

    def _decide(self, purpose: wire.Purpose, slot: Slot | None) -> RunTest | SkipTest:
        conditions = TestConditions(supply=self._parts.supply(), failover=self._parts.failover())
        lot, book, speed = slot.lot if slot else 0.0, self._book(), self._parts.settings.speed
        reserve = cross_check.reserve_bytes(book, speed)
        return speed_plan.decide(book, conditions, purpose, speed, self._now_ms(), lot, reserve)

    async def _wait_for_idle_line(self, slot: Slot | None) -> None:
        until_ms = speed_plan.defer_until_ms(slot, self._now_ms())
        plan_mbps = self._parts.settings.speed.plan_mbps
        while self._now_ms() < until_ms:
            load = await self._parts.load(self._timing.load_window_s)
            if load is None or not speed_plan.is_busy(load.down_mbps, load.up_mbps, self._book(), plan_mbps):
                return
            left_s = (until_ms - self._now_ms()) / 1000
            await asyncio.sleep(max(0.0, min(self._timing.busy_retry_s, left_s)))

    def _must_request(self) -> bool:
        """Whether tests must be requested: at the server of our enrolment, not at one of our own settings."""
        return bool(self._parts.context.measure_url) and not self._parts.settings.speed.server

    async def _request_test(self, purpose: wire.Purpose, slot: Slot | None) -> wire.Task | None:
        if not self._must_request():
            return None
        speed = self._parts.settings.speed
        book, left = self._book(), speed_plan.slots_left(self._now_ms(), speed.slots)
        mode = speed_plan.thrift(book, speed, left, cross_check.reserve_bytes(book, speed)).mode
        expected = speed_plan.cost_bytes(book, mode, speed.plan_mbps)
        until_ms = speed_plan.request_until_ms(slot, self._now_ms())
        return await self._requests.request(purpose, slot.name if slot else "", expected, until_ms)

    # ------------------------------------------------------------ the test

    async def _test(self, purpose: wire.Purpose, slot: Slot | None, task: wire.Task | None) -> None:
        """One test, or the reason why there is none; either way a reading, and the slot is done."""
        async with self._one_at_a_time:
            is_own_server = self._is_own_server(task)
            mode = self._parts.settings.speed.mode
            decision = (
                RunTest(mode) if is_own_server else self._without_grant(self._decide(purpose, slot), purpose, task)
            )
            # Ticked before the test: a test that brings the agent down must not run at every start.
            await self._save_book(self._book().ticked(slot) if slot else self._book())
            if isinstance(decision, SkipTest):
                await self._skip(decision, purpose, slot, task)
            else:
                await self._run(decision.mode, "self-test" if is_own_server else purpose, slot, task)

    def _without_grant(
        self, decision: RunTest | SkipTest, purpose: wire.Purpose, task: wire.Task | None
    ) -> RunTest | SkipTest:
        """What was decided, where a grant is needed and did not come, or has expired."""
        wanting = task.expires_ms <= self._now_ms() if task else self._must_request()
        if isinstance(decision, SkipTest) or not wanting:
            return decision
        if task is None and purpose not in speed_plan.AT_ONCE and not self._book().is_excused("skipped_no_turn"):
            return RunTest("quick")
        why = "the grant expired before the test could begin" if task else "the collector granted no test in time"
        return SkipTest("skipped_no_turn", f"{why}; its server refuses tests without a grant")

    async def _run(self, mode: Mode, purpose: wire.Purpose, slot: Slot | None, task: wire.Task | None) -> None:
        context = self._context(mode, purpose, task)
        readings, line_bytes = await self._measured(context)
        await self._charge(mode, readings, line_bytes, free=purpose == "self-test")
        named = [_named(reading, purpose, slot, context.test_id) for reading in readings]
        await self._parts.keep(named, "normal")

    async def _measured(self, context: Context) -> tuple[list[wire.Reading], int]:
        """What one test says, and the bytes that the line moved meanwhile, 0 where nothing counts them."""
        async with self._parts.line:
            before = self._parts.moved()
            readings = await self._parts.measure("speed", context)
            after = self._parts.moved()
        return readings, max(0, after - before) if before is not None and after is not None else 0

    def _context(self, mode: Mode, purpose: wire.Purpose, task: wire.Task | None) -> Context:
        settings = self._parts.settings
        server = task.server if task and task.server else settings.speed.server
        speed = msgspec.structs.replace(settings.speed, mode=mode, server=server)
        return replace(
            self._parts.context,
            settings=msgspec.structs.replace(settings, speed=speed),
            purpose=purpose,
            test_id=task.id if task else secrets.token_hex(16),
            test_token=task.token if task else "",
        )

    async def _charge(self, mode: Mode, readings: Sequence[wire.Reading], line_bytes: int, *, free: bool) -> None:
        """A test that failed moved something, too: what the line did meanwhile, at most what a whole one would."""
        tests = [reading for reading in readings if isinstance(reading, wire.SpeedReading)]
        book, now_ms = self._book(), self._now_ms()
        whole = any(test.bytes_total for test in tests)
        moved = sum(test.bytes_total or 0 for test in tests)
        if not whole:
            plan_mbps = self._parts.settings.speed.plan_mbps
            moved = min(max(0, line_bytes), speed_plan.cost_bytes(book, mode, plan_mbps))
        if free:
            await self._save_book(msgspec.structs.replace(book, last_ms=now_ms))
            return
        book = book.charged(mode, moved, now_ms, whole=whole)
        for test in tests:
            down, up = test.capacity_down_mbps or test.download_mbps, test.capacity_up_mbps or test.upload_mbps
            book = book.learnt(down, up)
        await self._save_book(book)

    async def _skip(self, skip: SkipTest, purpose: wire.Purpose, slot: Slot | None, task: wire.Task | None) -> None:
        SKIPPED.log(code=skip.cause, detail=skip.detail)
        if skip.cause in speed_plan.CAPPED and purpose not in speed_plan.AT_ONCE:
            await self._save_book(self._book().skipped(skip.cause, self._now_ms()))
        reading = wire.SpeedReading(at=self._parts.stamp(), failure=failure(skip.cause, skip.detail))
        await self._parts.keep([_named(reading, purpose, slot, task.id if task else "")], "normal")

    # ------------------------------------------------------------ a file

    async def fetch_file(self, order: wire.FetchOrder) -> None:
        """Fetches a file of the collector, which sees how fast it comes, unless the line is metered or the budget of
        the month is used up. Its bytes are charged like those of a test."""
        whole = order.parts * order.part_bytes
        left = self._parts.settings.speed.monthly_budget_mb * 1e6 - self._book().bytes
        if self._parts.failover() or whole > left or not self._parts.settings.speed.enabled:
            FETCH_SKIPPED.log(bytes=whole)
            return
        moved = whole
        try:
            async with self._parts.line:
                moved = await asyncio.to_thread(self._parts.fetch, order)
            FETCHED.log(bytes=moved)
        except OSError as error:
            FETCH_FAILED.log(error=error)
        book = self._book()
        await self._save_book(msgspec.structs.replace(book, bytes=book.bytes + moved))

    # ------------------------------------------------------------ the other engine

    async def _cross_check(self, slot: Slot) -> None:
        """The test of the other engine that follows that of a slot, on the days drawn for it; see `cross_check`."""
        book, speed, now_ms = self._book(), self._parts.settings.speed, self._now_ms()
        engine = cross_check.due_engine(book, speed, self._parts.device, self._ledger.secret, now_ms)
        if engine is None or not self._must_request() or self._is_own_server() or not self._on_plain_supply():
            return
        if not cross_check.fits(book, speed, now_ms):
            NOT_CROSS_CHECKED.log(engine=engine, bytes=cross_check.test_bytes(book, speed))
            return
        today = slot.name.partition(" ")[0]
        await self._save_book(msgspec.structs.replace(book, cross_checked=today))
        until_ms = speed_plan.request_until_ms(slot, now_ms)
        expected = cross_check.test_bytes(book, speed)
        task = await self._requests.request(CROSS_CHECK, slot.name, expected, until_ms)
        if task is None or task.expires_ms <= self._now_ms():
            return
        async with self._one_at_a_time:
            await self._run_other(engine, slot, task)

    async def _run_other(self, engine: str, slot: Slot, task: wire.Task) -> None:
        context = self._context("quick", CROSS_CHECK, task)
        settings = context.settings
        other = msgspec.structs.replace(settings.speed, engine=engine)
        context = replace(context, settings=msgspec.structs.replace(settings, speed=other))
        readings, line_bytes = await self._measured(context)
        tests = [reading for reading in readings if isinstance(reading, wire.SpeedReading)]
        moved = sum(test.bytes_total or 0 for test in tests)
        book = self._book()
        cost = moved or min(line_bytes, cross_check.test_bytes(book, self._parts.settings.speed))
        await self._save_book(book.charged(engine, cost, self._now_ms(), whole=bool(moved)))
        named = [msgspec.structs.replace(test, engine=engine) for test in tests]
        await self._parts.keep([_named(test, CROSS_CHECK, slot, task.id) for test in named], "normal")

    def _on_plain_supply(self) -> bool:
        return self._parts.supply() == "mains" and not self._parts.failover()

    # ------------------------------------------------------------ small things

    def _is_own_server(self, task: wire.Task | None = None) -> bool:
        server = task.server if task and task.server else self._parts.settings.speed.server
        return is_self_test(server or self._parts.context.measure_url or "")

    def _now_ms(self) -> int:
        return self._parts.now_ms()

    def _book(self) -> SpeedBook:
        return self._ledger.book.at(self._now_ms())

    async def _save_book(self, book: SpeedBook) -> None:
        await asyncio.to_thread(self._ledger.save, book)


def _named(reading: wire.Reading, purpose: wire.Purpose, slot: Slot | None, test_id: str) -> wire.Reading:
    """A speed reading states what it was run for, in which slot and under which id, also when it failed."""
    if not isinstance(reading, wire.SpeedReading):
        return reading
    return msgspec.structs.replace(
        reading, purpose=purpose, slot=slot.name if slot else None, test_id=test_id or reading.test_id
    )
