"""The published rules of speed tests: slots, excuses, the month's budget, deferral."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.common.center_time import CENTER_TIME
from agent.config import SpeedSection
from agent.probes.target import is_self_test
from agent.scheduling import speed_plan
from agent.scheduling.speed_plan import (
    CAPPED,
    COST_BYTES,
    MB,
    RunTest,
    SkipTest,
    Slot,
    SpeedBook,
    TestConditions,
    Thrift,
    decide,
)

SLOTS = ["08:00-09:00", "10:00-13:00", "19:00-22:00"]
SECRET = b"s" * 32
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SPEED = SpeedSection()


def at(text: str) -> int:
    """Milliseconds UTC of a time on a center's clock (UTC+5)."""
    local = datetime.fromisoformat(text).replace(tzinfo=CENTER_TIME)
    return round(local.astimezone(UTC).timestamp() * 1000)


NOW = at("2026-11-10T11:00")


# ---------------------------------------------------------------- slots


def test_each_slot_of_the_day_has_one_moment_inside_it() -> None:
    plan = speed_plan.plan_day(at("2026-11-21T12:00"), SLOTS, "g1", SECRET)
    assert [slot.name for slot in plan] == [f"2026-11-21 {slot}" for slot in SLOTS]
    assert plan[1].start_ms == at("2026-11-21T10:00")
    assert plan[1].end_ms == at("2026-11-21T13:00")
    assert all(slot.start_ms <= slot.test_ms < slot.end_ms for slot in plan)


def test_a_restart_draws_the_same_moments_and_another_day_gateway_or_secret_others() -> None:
    now = at("2026-11-21T12:00")
    plan = speed_plan.plan_day(now, SLOTS, "g1", SECRET)
    assert speed_plan.plan_day(now + 3_600_000, SLOTS, "g1", SECRET) == plan

    def draws(other: list[Slot]) -> list[tuple[int, float]]:
        return [(slot.test_ms - slot.start_ms, slot.lot) for slot in other]

    for other in (
        speed_plan.plan_day(now + DAY_MS, SLOTS, "g1", SECRET),
        speed_plan.plan_day(now, SLOTS, "g2", SECRET),
        speed_plan.plan_day(now, SLOTS, "g1", b"t" * 32),
    ):
        assert not set(draws(other)) & set(draws(plan))


def test_the_day_is_the_centers_not_utc() -> None:
    plan = speed_plan.plan_day(at("2026-11-22T01:00"), SLOTS, "g1", SECRET)  # still the 21st in UTC
    assert plan[0].name.startswith("2026-11-22")


def test_a_slot_is_due_from_its_moment_to_its_end_and_once() -> None:
    plan = speed_plan.plan_day(at("2026-11-21T12:00"), SLOTS, "g1", SECRET)
    slot = plan[1]
    assert speed_plan.due_slot(plan, [], slot.test_ms - 1) is None
    assert speed_plan.due_slot(plan, [], slot.test_ms) == slot
    # The gateway was down at the drawn moment and is up before the slot ends.
    assert speed_plan.due_slot(plan, [], slot.end_ms - 1) == slot
    assert speed_plan.due_slot(plan, [], slot.end_ms) is None
    assert speed_plan.due_slot(plan, [slot.name], slot.test_ms) is None


@pytest.mark.parametrize(
    ("when", "left"),
    [
        ("2026-11-01T00:00", 90),
        ("2026-11-30T00:00", 3),
        ("2026-11-30T12:59", 2),
        ("2026-11-30T13:00", 1),
        ("2026-11-30T22:00", 0),
        ("2026-02-28T09:30", 2),
        ("2026-12-31T23:00", 0),
        ("2026-12-30T23:00", 3),
    ],
)
def test_the_slots_left_of_a_month_are_counted_to_its_end(when: str, left: int) -> None:
    assert speed_plan.slots_left(at(when), SLOTS) == left


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8481", True),
        ("http://localhost/x", True),
        ("http://[::1]:80", True),
        ("127.0.0.1:80", True),
        ("http://measure.example", False),
        ("http://10.0.0.1", False),
        ("", False),
    ],
)
def test_a_server_on_this_machine_makes_a_self_test(url: str, own: bool) -> None:
    assert is_self_test(url) is own


# ---------------------------------------------------------------- the book


def test_a_new_month_of_the_center_starts_at_zero_and_old_slots_are_forgotten() -> None:
    book = SpeedBook(month="2026-11", bytes=5, done=["2026-11-30 08:00-09:00"], costs={"quick": 5})
    assert book.at(at("2026-11-30T23:59")) == book
    fresh = book.at(at("2026-12-01T00:00"))
    assert (fresh.month, fresh.bytes, fresh.done, fresh.costs) == ("2026-12", 0, [], {"quick": 5})


def test_skips_are_forgotten_after_a_week_also_those_a_wrong_clock_put_into_the_future() -> None:
    book = SpeedBook(skips=[("skipped_failover", NOW), ("skipped_failover", NOW + 400 * DAY_MS)])
    assert book.at(NOW).skips == [("skipped_failover", NOW)]
    assert book.at(NOW + 7 * DAY_MS - 1).skips == [("skipped_failover", NOW)]
    assert book.at(NOW + 7 * DAY_MS).skips == []


def test_a_failed_test_costs_its_bytes_but_does_not_make_the_next_one_seem_cheap() -> None:
    book = SpeedBook(bytes=50, costs={"quick": 50}).charged("quick", 7, 9, whole=False)
    assert (book.bytes, book.costs, book.last_ms) == (57, {"quick": 50}, 9)


def test_a_book_of_an_older_agent_is_read() -> None:
    old = b'{"month":"2026-11","bytes":7,"done":["2026-11-21 08:00-09:00"],"last_ms":5,"last_bytes":9}'
    book = msgspec.json.decode(old, type=SpeedBook)
    assert (book.bytes, book.last_ms, book.skips) == (7, 5, [])


def test_a_gateway_that_keeps_restarting_does_not_test_at_each_start() -> None:
    book = SpeedBook(last_ms=1_000_000)
    assert not speed_plan.start_test_due(book, 1_000_000 + 60_000)
    assert speed_plan.start_test_due(book, 1_000_000 + speed_plan.RESTART_PAUSE_MS)
    assert speed_plan.start_test_due(book, 5)  # the clock jumped back


# ---------------------------------------------------------------- the budget


def test_tests_are_shortened_in_the_published_order_until_all_slots_that_are_left_fit() -> None:
    book = SpeedBook(costs={"full": 30 * MB, "adaptive": 14 * MB, "quick": 8 * MB})
    order = []
    for budget_mb in (3750, 3749, 1750, 1749, 1000, 999, 500, 0):
        plan = speed_plan.thrift(book, SpeedSection(mode="full", monthly_budget_mb=budget_mb), 100)
        order.append((plan.mode, round(plan.share, 3)))
    assert order == [
        ("full", 1), ("adaptive", 1), ("adaptive", 1), ("quick", 1), ("quick", 1), ("quick", 0.999), ("quick", 0.5),
        ("quick", 0),
    ]  # fmt: skip


def test_no_test_is_longer_than_the_settings_want() -> None:
    assert speed_plan.thrift(SpeedBook(), SpeedSection(mode="quick", monthly_budget_mb=10**6), 1) == Thrift("quick", 1)


def test_the_cost_of_a_mode_is_that_of_its_last_test_else_reckoned() -> None:
    assert speed_plan.cost_bytes(SpeedBook(costs={"quick": 1}), "quick", None) == 1
    assert speed_plan.cost_bytes(SpeedBook(costs={"adaptive": 28 * MB}), "quick", None) == 16 * MB
    assert speed_plan.cost_bytes(SpeedBook(), "full", 100.0) == 150 * MB
    assert speed_plan.cost_bytes(SpeedBook(), "full", None) == 30 * MB


@settings(max_examples=60, deadline=None)
@given(
    budget_mb=st.integers(0, 3000),
    quick_mb=st.floats(0.2, 60),
    mode=st.sampled_from(["full", "adaptive", "quick"]),
    seed=st.binary(min_size=4, max_size=4),
    dearer=st.floats(0.8, 1.25),
)
def test_a_month_of_slots_never_passes_its_budget_and_uses_what_it_has(
    budget_mb: int, quick_mb: float, mode: str, seed: bytes, dearer: float
) -> None:
    """Though tests cost now what the last did, now a quarter more or less."""
    speed = msgspec.convert({"mode": mode, "monthly_budget_mb": budget_mb, "slots": SLOTS}, SpeedSection)
    costs = {name: round(quick_mb * MB * COST_BYTES[name] / COST_BYTES["quick"]) for name in COST_BYTES}
    book, ran = SpeedBook(costs=costs).at(at("2026-11-01T00:00")), 0
    for day in range(30):
        for slot in speed_plan.plan_day(at("2026-11-01T00:00") + day * DAY_MS, SLOTS, "g1", seed):
            book = book.at(slot.test_ms)
            decision = decide(book, TestConditions(), "routine", speed, slot.test_ms, slot.lot)
            if isinstance(decision, RunTest):
                ran += 1
                cost = round(costs[decision.mode] * (dearer if ran % 2 else 1.0))
                book = book.charged(decision.mode, cost, slot.test_ms, whole=True)
    assert book.bytes <= budget_mb * MB
    affordable = min(90, budget_mb / quick_mb)
    assert ran >= 0.5 * affordable - 12  # drawn by lot, so not each one; but no month is left unused


def test_a_spent_budget_is_a_skip_that_says_how_much() -> None:
    book = SpeedBook(month="2026-11", bytes=20 * MB, costs={"quick": 10 * MB})
    skip = decide(book, TestConditions(), "routine", SpeedSection(monthly_budget_mb=25), NOW)
    assert isinstance(skip, SkipTest)
    assert skip.cause == "skipped_budget"
    assert "20 of 25 MB are used this month and a quick test takes about 10" in skip.detail
    assert decide(book, TestConditions(), "desk", SpeedSection(monthly_budget_mb=25), NOW) == skip


# ---------------------------------------------------------------- excuses


def test_battery_and_backup_line_excuse_so_many_slots_a_week_then_the_test_runs_quick() -> None:
    for here, cause in (
        (TestConditions(supply="battery"), "skipped_on_battery"),
        (TestConditions(failover=True), "skipped_failover"),
    ):
        book, causes = SpeedBook(), []
        for number in range(speed_plan.MAX_SKIPS + 2):
            now_ms = NOW + number * 6 * HOUR_MS
            book = book.at(now_ms)
            decision = decide(book, here, "routine", SPEED, now_ms)
            causes.append(decision)
            if isinstance(decision, SkipTest):
                book = book.skipped(decision.cause, now_ms)
        assert [skip.cause for skip in causes[: speed_plan.MAX_SKIPS] if isinstance(skip, SkipTest)] == [cause] * 5
        assert causes[speed_plan.MAX_SKIPS :] == [RunTest("quick"), RunTest("quick")]


def test_a_nearly_empty_battery_is_always_an_excuse() -> None:
    book = SpeedBook(skips=[("skipped_battery_low", NOW)] * 50)
    for purpose in ("routine", "desk"):
        decision = decide(book, TestConditions(supply="low"), purpose, SPEED, NOW)
        assert isinstance(decision, SkipTest)
        assert decision.cause == "skipped_battery_low"


@pytest.mark.parametrize("purpose", ["desk", "retest", "manual"])
def test_who_asks_for_a_test_now_gets_one_but_no_heavy_one(purpose: str) -> None:
    for here in (TestConditions(supply="battery"), TestConditions(failover=True)):
        assert decide(SpeedBook(), here, purpose, SPEED, NOW) == RunTest("quick")  # type: ignore[arg-type]
    assert decide(SpeedBook(), TestConditions(), purpose, SPEED, NOW) == RunTest("adaptive")  # type: ignore[arg-type]


heres = st.builds(TestConditions, supply=st.sampled_from(["mains", "battery", "low"]), failover=st.booleans())


@settings(max_examples=80, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 14 * HOUR_MS), heres), max_size=80))
def test_in_no_seven_days_does_one_reason_excuse_more_than_its_share(steps: list[tuple[int, TestConditions]]) -> None:
    book, now_ms, skips = SpeedBook(), NOW, []
    for pause_ms, here in steps:
        now_ms += pause_ms
        book = book.at(now_ms)
        decision = decide(book, here, "routine", SPEED, now_ms)
        if isinstance(decision, RunTest):
            # A test runs in full only where nothing stands in its way.
            assert decision.mode == "quick" or here == TestConditions()
            continue
        book = book.skipped(decision.cause, now_ms)
        skips.append((decision.cause, now_ms))
        assert (decision.cause == "skipped_battery_low") == (here.supply == "low")
        for cause in CAPPED:
            week = [at_ms for name, at_ms in skips if name == cause and now_ms - at_ms < 7 * DAY_MS]
            assert len(week) <= speed_plan.MAX_SKIPS


# ---------------------------------------------------------------- deferral


@pytest.mark.parametrize(
    ("down_mbps", "up_mbps", "book", "plan_mbps", "busy"),
    [
        (0.9, 0.2, SpeedBook(down_mbps=20, up_mbps=5), None, False),
        (1.1, 0.0, SpeedBook(down_mbps=20, up_mbps=5), None, True),
        (0.0, 0.3, SpeedBook(down_mbps=20, up_mbps=5), None, True),
        (0.9, 0.1, SpeedBook(), 20, False),
        (1.1, 0.1, SpeedBook(), 20, True),
        (0.1, 0.09, SpeedBook(), None, False),
        (0.1, 0.11, SpeedBook(), None, True),
    ],
)
def test_a_line_is_busy_above_a_share_of_what_it_can_carry(
    down_mbps: float, up_mbps: float, book: SpeedBook, plan_mbps: float | None, busy: bool
) -> None:
    assert speed_plan.is_busy(down_mbps, up_mbps, book, plan_mbps) is busy


def test_a_test_is_put_off_for_a_bounded_time_and_never_past_its_slot() -> None:
    slot = Slot("s", NOW, NOW, NOW + 3 * HOUR_MS)
    assert speed_plan.defer_until_ms(slot, NOW) == NOW + speed_plan.MAX_DEFERRAL_MS
    late = slot.end_ms - 10 * 60_000
    assert late < speed_plan.defer_until_ms(slot, late) < slot.end_ms
    assert speed_plan.defer_until_ms(slot, slot.end_ms - 1) <= slot.end_ms - 1
    assert speed_plan.defer_until_ms(None, NOW) == NOW


def test_a_turn_is_waited_for_to_the_slots_end_at_most() -> None:
    slot = Slot("s", NOW, NOW, NOW + 3 * HOUR_MS)
    assert speed_plan.request_until_ms(slot, NOW) == NOW + speed_plan.MAX_REQUEST_WAIT_MS
    assert speed_plan.request_until_ms(slot, slot.end_ms - 600_000) == slot.end_ms
    assert speed_plan.request_until_ms(slot, slot.end_ms - 1) == slot.end_ms - 1 + speed_plan.MIN_REQUEST_WAIT_MS
