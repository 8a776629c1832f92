"""Speed tests as the gateway runs them: turns, deferral, what a test costs, and why there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from agent import wire
from agent.config import AgentSettings, SpeedSection
from agent.probes.probe import Context
from agent.probes.speed.line.idle_check import Load
from agent.scheduling import speed_plan
from agent.scheduling.speed_plan import MB, Slot, SpeedBook
from agent.scheduling.speed_rounds import SpeedContext, SpeedLedger, SpeedRounds, Timing

T0 = 1_790_000_000_000
NAMED = "http://measure.example"
FAST = Timing(poll_s=0.01, start_pause_s=0.0, load_window_s=0.001, busy_retry_s=0.01, request_retry_s=0.02)


class Clock:
    """A wall clock `rate` times as fast as ours."""

    def __init__(self, start_ms: int = T0, rate: float = 1.0) -> None:
        self._start_ms, self._rate, self._began_s = start_ms, rate, time.monotonic()

    def stamp(self) -> wire.Stamp:
        ms = self._start_ms + round((time.monotonic() - self._began_s) * 1000 * self._rate)
        return wire.Stamp(wall_ms=ms, mono_ms=5, boot="1a2b3c4d", clock="synced")


class Gateway:
    """The tests of one gateway with a line and a collector of our own making."""

    def __init__(self, folder: Path, speed: SpeedSection | None = None, url: str = NAMED, rate: float = 1.0) -> None:
        speed = speed or msgspec.structs.replace(SpeedSection(at_start=False), cross_checks_per_month=0)
        self.contexts: list[Context] = []
        self.kept: list[wire.SpeedReading] = []
        self.asks: list[wire.Ask] = []
        self.answer: Callable[[wire.Ask], wire.Task | None] = self.granted
        self.result = wire.SpeedReading(download_mbps=20.0, upload_mbps=5.0, bytes_total=10 * MB)
        self.supply: speed_plan.Supply = "mains"
        self.failover = False
        self.loads: list[Load] = []
        self.line_bytes = 0
        self.moves = 12 * MB
        self.clock = Clock(rate=rate)
        settings = AgentSettings(speed=speed)
        self.ledger = SpeedLedger(folder)
        self.running = 0
        self.parts = SpeedContext(
            settings=settings,
            device="g1",
            context=Context(settings=settings, deadline_s=1.0, measure_url=url, purpose="routine"),
            stamp=self.clock.stamp,
            now_ms=lambda: self.clock.stamp().wall_ms,
            keep=self._keep,
            measure=self._measure,
            line=asyncio.Lock(),
            supply=lambda: self.supply,
            failover=lambda: self.failover,
            load=self._load,
            moved=lambda: self.line_bytes,
            send_ask=self._ask,
            fetch=self._fetch,
        )
        self.fetches: list[wire.FetchOrder] = []
        self.is_cut = False
        self.speed = SpeedRounds(self.parts, self.ledger, FAST)

    async def _keep(self, readings: Sequence[wire.Reading], value: str) -> None:
        assert value == "normal"
        self.kept += [reading for reading in readings if isinstance(reading, wire.SpeedReading)]

    async def _measure(self, kind: str, context: Context) -> list[wire.Reading]:
        assert kind == "speed"
        self.contexts.append(context)
        self.running += 1
        assert self.running == 1, "two tests at once"
        await asyncio.sleep(0.01)
        self.running -= 1
        self.line_bytes += self.moves
        return [msgspec.structs.replace(self.result, at=self.clock.stamp())]

    async def _load(self, seconds: float) -> Load | None:
        await asyncio.sleep(seconds)
        return self.loads.pop(0) if self.loads else Load(down_mbps=0.0, up_mbps=0.0)

    def _fetch(self, order: wire.FetchOrder) -> int:
        self.fetches.append(order)
        if self.is_cut:
            raise OSError("cut")
        return order.parts * order.part_bytes

    def _ask(self, ask: wire.Ask) -> None:
        self.asks.append(ask)
        task = self.answer(ask)
        if task is not None:
            self.speed.accept(task)

    def granted(self, ask: wire.Ask) -> wire.Task:
        return self.task(ask.id, purpose=ask.purpose)

    def task(self, name: str, *, purpose: wire.Purpose = "desk", left_ms: int = 60_000) -> wire.Task:
        expires_ms = self.clock.stamp().wall_ms + left_ms
        return wire.Task(
            v=1,
            device="g1",
            id=name,
            do="speed",
            token="t-" + name,
            server="http://two.example",
            purpose=purpose,
            expires_ms=expires_ms,
        )

    def slot(self, name: str = "2026-09-21 19:00-22:00", long_ms: int = 3 * 3_600_000) -> Slot:
        now_ms = self.clock.stamp().wall_ms
        return Slot(name, now_ms, now_ms, now_ms + long_ms)

    @property
    def causes(self) -> list[str | None]:
        return [reading.failure.cause if reading.failure else None for reading in self.kept]


# ---------------------------------------------------------------- turns


def test_a_due_test_asks_for_its_turn_and_runs_with_the_tasks_id_token_and_server(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    slot = gateway.slot()
    asyncio.run(gateway.speed.due("routine", slot))
    (ask,) = gateway.asks
    assert (ask.want, ask.purpose, ask.slot, ask.device) == ("speed", "routine", slot.name, "g1")
    assert ask.expected_bytes == speed_plan.COST_BYTES["adaptive"]
    (context,) = gateway.contexts
    assert (context.test_id, context.test_token) == (ask.id, f"t-{ask.id}")
    assert (context.settings.speed.server, context.purpose) == ("http://two.example", "routine")
    (reading,) = gateway.kept
    assert (reading.test_id, reading.slot, reading.purpose) == (ask.id, slot.name, "routine")
    assert SpeedLedger(tmp_path).book.done == [slot.name]


def test_a_book_that_says_nothing_new_is_not_written_again(tmp_path: Path) -> None:
    """Each writing costs the card two syncs; one that failed is made up for."""
    ledger, file = SpeedLedger(tmp_path / "state"), tmp_path / "state" / "speed.json"
    book = SpeedBook(down_mbps=20, up_mbps=5)
    ledger.save(book)  # there is no folder
    file.parent.mkdir()
    ledger.save(book)
    first = file.stat()
    ledger.save(SpeedBook(down_mbps=20, up_mbps=5))
    assert file.stat().st_ino == first.st_ino
    assert SpeedLedger(file.parent).book == book
    ledger.save(SpeedBook(down_mbps=30, up_mbps=5))
    assert SpeedLedger(file.parent).book.down_mbps == 30


def test_an_ask_is_repeated_under_the_same_id_until_its_task_comes(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.answer = lambda ask: gateway.granted(ask) if len(gateway.asks) == 4 else None
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert len(gateway.asks) == 4
    assert len({ask.id for ask in gateway.asks}) == 1
    assert gateway.causes == [None]


def test_without_an_answer_the_slot_ends_in_a_skip_and_the_late_answer_runs_nothing(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, rate=10_000)  # half an hour in 0.18 s
    gateway.answer = lambda ask: None
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert gateway.causes == ["skipped_no_turn"]
    assert gateway.kept[0].slot == "2026-09-21 19:00-22:00"
    assert gateway.contexts == []
    assert len(gateway.asks) > 3
    assert gateway.speed.accept(gateway.granted(gateway.asks[0]))  # ours, though too late: nobody else's business
    assert not gateway.speed.accept(gateway.task("unasked"))


def test_another_gateways_or_another_asks_task_is_no_answer(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, rate=10_000)
    gateway.answer = lambda ask: gateway.task("f" * 32, purpose="routine")
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert gateway.causes == ["skipped_no_turn"]


def test_after_so_many_slots_without_a_turn_the_next_test_runs_quick_and_unwitnessed(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, rate=10_000)
    gateway.answer = lambda ask: None

    async def week() -> None:
        for number in range(speed_plan.MAX_SKIPS + 1):
            await gateway.speed.due("routine", gateway.slot(f"2026-09-21 {number}"))

    asyncio.run(week())
    assert gateway.causes == ["skipped_no_turn"] * speed_plan.MAX_SKIPS + [None]
    (context,) = gateway.contexts
    assert (context.settings.speed.mode, context.test_token) == ("quick", "")


def test_a_gateway_with_a_server_of_its_own_tests_there_without_asking(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, SpeedSection(server="http://own.example", at_start=False))
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert gateway.asks == []
    assert gateway.causes == [None]
    assert gateway.contexts[0].settings.speed.server == "http://own.example"
    assert gateway.kept[0].test_id == gateway.contexts[0].test_id != ""


def test_a_test_against_this_very_machine_asks_nobody_is_a_self_test_and_costs_no_budget(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, url="http://127.0.0.1:8481")
    gateway.supply = "low"
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert gateway.asks == []
    assert [reading.purpose for reading in gateway.kept] == ["self-test"]
    assert gateway.contexts[0].purpose == "self-test"
    assert SpeedLedger(tmp_path).book.bytes == 0


def test_a_turn_that_is_over_when_its_test_could_begin_is_not_used(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)

    async def story() -> None:
        await gateway.speed.run_task(gateway.task("late", left_ms=-1))

    asyncio.run(story())
    assert gateway.causes == ["skipped_no_turn"]
    assert gateway.contexts == []


# ---------------------------------------------------------------- the desk


def test_a_task_that_comes_unasked_runs_at_once_though_another_test_waits_for_its_turn(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.answer = lambda ask: None

    async def story() -> None:
        waiting = asyncio.create_task(gateway.speed.due("routine", gateway.slot()))
        await asyncio.sleep(0.05)
        await gateway.speed.run_task(gateway.task("desk"))
        waiting.cancel()

    asyncio.run(story())
    (reading,) = gateway.kept
    assert (reading.purpose, reading.test_id, reading.slot) == ("desk", "desk", None)


def test_never_more_than_one_test_at_a_time(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)

    async def story() -> None:
        tests = [gateway.speed.run_task(gateway.task(str(number), purpose="retest")) for number in range(5)]
        await asyncio.gather(*tests, gateway.speed.due("routine", gateway.slot()))

    asyncio.run(story())
    assert gateway.causes == [None] * 6


# ---------------------------------------------------------------- what stands in the way


@pytest.mark.parametrize(
    ("supply", "failover", "cause"),
    [
        ("battery", False, "skipped_on_battery"),
        ("low", False, "skipped_battery_low"),
        ("mains", True, "skipped_failover"),
    ],
)
def test_on_battery_or_the_backup_line_the_slot_is_a_skip_that_asks_for_no_turn(
    tmp_path: Path, supply: speed_plan.Supply, failover: bool, cause: str
) -> None:
    gateway = Gateway(tmp_path)
    gateway.supply, gateway.failover = supply, failover
    slot = gateway.slot()
    asyncio.run(gateway.speed.due("routine", slot))
    assert gateway.causes == [cause]
    assert (gateway.kept[0].slot, gateway.kept[0].purpose) == (slot.name, "routine")
    assert gateway.asks == gateway.contexts == []
    assert SpeedLedger(tmp_path).book.done == [slot.name]


def test_mains_that_go_while_the_turn_is_waited_for_stop_the_test(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)

    def dark(ask: wire.Ask) -> wire.Task:
        gateway.supply = "battery"
        return gateway.granted(ask)

    gateway.answer = dark
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert gateway.causes == ["skipped_on_battery"]


def test_excuses_survive_a_restart(tmp_path: Path) -> None:
    all_causes = []
    for number in range(speed_plan.MAX_SKIPS + 1):
        gateway = Gateway(tmp_path)
        gateway.supply = "battery"
        asyncio.run(gateway.speed.due("routine", gateway.slot(f"2026-09-21 {number}")))
        all_causes += gateway.causes
    assert all_causes == ["skipped_on_battery"] * speed_plan.MAX_SKIPS + [None]
    assert gateway.contexts[0].settings.speed.mode == "quick"


def test_a_busy_line_is_looked_at_again_and_a_quiet_one_tested(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.ledger.save(SpeedBook(down_mbps=20, up_mbps=5))
    gateway.loads = [Load(down_mbps=15, up_mbps=0)] * 3
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert gateway.loads == []
    assert gateway.causes == [None]


def test_a_line_that_stays_busy_is_tested_all_the_same(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, rate=20_000)  # half an hour in 0.09 s
    gateway.loads = [Load(down_mbps=15, up_mbps=9)] * 10_000
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert gateway.causes == [None]
    assert len(gateway.loads) < 9_998


def test_a_restart_while_the_line_is_busy_does_not_lose_the_slot(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.loads = [Load(down_mbps=15, up_mbps=9)] * 1_000

    async def story() -> None:
        task = asyncio.create_task(gateway.speed.due("routine", gateway.slot()))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(story())
    assert SpeedLedger(tmp_path).book.done == []


# ---------------------------------------------------------------- what it costs


def test_a_test_is_charged_durably_and_past_the_budget_the_skip_is_a_reading(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, SpeedSection(monthly_budget_mb=30, mode="quick", slots=[], at_start=False))

    async def three() -> None:
        for _ in range(3):
            await gateway.speed.due("routine")

    asyncio.run(three())
    assert gateway.causes == [None, None, "skipped_budget"]
    book = SpeedLedger(tmp_path).book
    assert (book.bytes, book.costs, book.down_mbps, book.up_mbps) == (20 * MB, {"quick": 10 * MB}, 20.0, 5.0)
    failure = gateway.kept[2].failure
    assert failure is not None
    assert "20 of 30 MB" in failure.detail


def test_many_wishes_at_once_do_not_pass_the_budget(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, SpeedSection(monthly_budget_mb=30, mode="quick", slots=[], at_start=False))

    async def story() -> None:
        await asyncio.gather(*(gateway.speed.run_task(gateway.task(str(number))) for number in range(5)))

    asyncio.run(story())
    assert sorted(map(str, gateway.causes)) == ["None"] * 2 + ["skipped_budget"] * 3
    assert SpeedLedger(tmp_path).book.bytes == 20 * MB


def test_a_failed_test_is_charged_what_the_line_moved_meanwhile_and_keeps_its_purpose(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.result = wire.SpeedReading(failure=wire.Failure("unreachable", "nobody there"))
    asyncio.run(gateway.speed.run_task(gateway.task("x")))
    (reading,) = gateway.kept
    assert (reading.purpose, reading.test_id) == ("desk", "x")
    assert reading.failure == wire.Failure("unreachable", "nobody there")
    book = SpeedLedger(tmp_path).book
    assert (book.bytes, book.costs) == (12 * MB, {})


def test_others_traffic_during_a_failed_test_cannot_eat_the_budget(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.result = wire.SpeedReading(failure=wire.Failure("timeout"))

    gateway.moves = 10_000 * MB
    asyncio.run(gateway.speed.run_task(gateway.task("x")))
    assert SpeedLedger(tmp_path).book.bytes == speed_plan.COST_BYTES["adaptive"]


# ---------------------------------------------------------------- the run


def test_the_run_tests_at_its_start_and_in_each_slot_once(tmp_path: Path) -> None:
    slots = ["00:00-24:00"]
    gateway = Gateway(tmp_path, SpeedSection(slots=slots, cross_checks_per_month=0), rate=1_000_000)

    async def story() -> None:
        task = asyncio.create_task(gateway.speed.run())
        async with asyncio.timeout(60):
            while len(gateway.kept) < 3:  # noqa: ASYNC110  the run is beside us
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(story())
    assert gateway.kept[0].slot is None
    named = [reading.slot for reading in gateway.kept[1:]]
    assert len(set(named)) == len(named)
    assert all(str(name).endswith("00:00-24:00") for name in named)


# ---------------------------------------------------------------- small files


def test_the_book_and_the_secret_survive_a_restart(tmp_path: Path) -> None:
    first = SpeedLedger(tmp_path)
    first.save(SpeedBook(month="2026-11", bytes=7, skips=[("skipped_failover", 5)]))
    again = SpeedLedger(tmp_path)
    assert (again.secret, again.book) == (first.secret, first.book)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"bytes": "many"}', b'{"skips": [1]}'])
def test_a_damaged_book_is_a_new_book(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "speed.json").write_bytes(content)
    (tmp_path / "slots.key").write_bytes(content)
    ledger = SpeedLedger(tmp_path)
    assert ledger.book == SpeedBook()
    assert len(ledger.secret) == 32


def test_without_a_disk_the_book_lives_in_memory(tmp_path: Path) -> None:
    ledger = SpeedLedger(tmp_path / "nowhere")
    ledger.save(SpeedBook(bytes=7))
    assert ledger.book.bytes == 7


# ---------------------------------------------------------------- tests that the collector draws


FILE = wire.FetchOrder(name="ab" * 16, parts=16, part_bytes=500_000)


def test_a_file_is_fetched_and_charged_whole_even_if_it_is_cut(tmp_path: Path) -> None:
    house = Gateway(tmp_path)
    asyncio.run(house.speed.fetch_file(FILE))
    house.is_cut = True
    asyncio.run(house.speed.fetch_file(FILE))
    assert (house.fetches, SpeedLedger(tmp_path).book.bytes) == ([FILE, FILE], 16 * MB)


def test_no_file_is_fetched_by_a_metered_line_or_past_the_budget(tmp_path: Path) -> None:
    house = Gateway(tmp_path)
    house.failover = True
    asyncio.run(house.speed.fetch_file(FILE))
    house.failover = False
    budget = house.parts.settings.speed.monthly_budget_mb
    house.ledger.save(house.ledger.book.at(house.parts.now_ms()).charged("full", budget * MB, 1, whole=True))
    asyncio.run(house.speed.fetch_file(FILE))
    assert house.fetches == []


def drawn(house: Gateway, slot: Slot) -> wire.Task:
    return msgspec.structs.replace(house.task("drawn-1", purpose="routine"), slot=slot.name)


def todays_slot(house: Gateway) -> Slot:
    now_ms = house.clock.stamp().wall_ms
    speed = house.parts.settings.speed
    return speed_plan.plan_day(now_ms, speed.slots, "g1", house.ledger.secret)[0]


def test_a_drawn_test_is_the_slots_test(tmp_path: Path) -> None:
    house = Gateway(tmp_path)
    slot = todays_slot(house)
    asyncio.run(house.speed.run_task(drawn(house, slot)))
    assert [(kept.slot, kept.purpose, kept.test_id) for kept in house.kept] == [(slot.name, "routine", "drawn-1")]
    assert house.ledger.book.done == [slot.name]


def test_a_second_drawn_test_of_a_slot_runs_too(tmp_path: Path) -> None:
    house = Gateway(tmp_path)
    for _ in range(2):
        asyncio.run(house.speed.run_task(drawn(house, todays_slot(house))))
    assert [kept.failure for kept in house.kept] == [None, None]


def test_while_the_collector_draws_the_gateways_own_moment_waits_for_the_slots_end(tmp_path: Path) -> None:
    house = Gateway(tmp_path)
    plan = [Slot("a", 0, 10, 1000), Slot("b", 0, 950, 1000)]
    assert speed_plan.after_drawn(plan, house.ledger.book, T0) == plan
    asyncio.run(house.speed.run_task(drawn(house, todays_slot(house))))
    book = house.ledger.book
    assert [slot.test_ms for slot in speed_plan.after_drawn(plan, book, book.drawn_ms)] == [900, 950]
    later_ms = book.drawn_ms + speed_plan.DRAWS_MS
    assert speed_plan.after_drawn(plan, book, later_ms) == plan
