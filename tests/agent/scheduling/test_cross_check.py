"""The days on which speed engines are held against each other, and what they cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from agent import wire
from agent.common.center_time import CENTER_TIME
from agent.config import SpeedSection
from agent.scheduling import cross_check, speed_plan
from agent.scheduling.speed_plan import MB, SpeedBook
from agent.scheduling.speed_rounds import SpeedLedger
from tests.agent.scheduling.test_speed_rounds import Gateway

ONCE = SpeedSection(at_start=False)
SECRET = b"s" * 32


def ms(day: date, hour: int = 12) -> int:
    return int(datetime(day.year, day.month, day.day, hour, tzinfo=CENTER_TIME).timestamp() * 1000)


def year(speed: SpeedSection, secret: bytes = SECRET, off: Sequence[date] = ()) -> list[date]:
    """The days of 2027 on which a gateway compares engines that is on but for some days."""
    book, days = SpeedBook(), []
    for number in range(365):
        day = date(2027, 1, 1) + timedelta(days=number)
        if day in off:
            continue
        engine = cross_check.due_engine(book.at(ms(day)), speed, "g1", secret, ms(day))
        if engine is not None:
            days.append(day)
            book = msgspec.structs.replace(book, cross_checked=day.isoformat())
    return days


def test_each_month_has_one_day_drawn_for_it_and_another_secret_draws_others() -> None:
    days = year(ONCE)
    assert [day.month for day in days] == list(range(1, 13))
    assert len({day.day for day in days}) > 6
    assert days != year(ONCE, b"t" * 32)
    drawn = [day.day for number in range(200) for day in year(ONCE, number.to_bytes(32))[:1]]
    assert 12 < sum(drawn) / len(drawn) < 17
    assert set(drawn) == set(range(1, 29))


@pytest.mark.parametrize("number", [2, 3, 4])
def test_several_days_lie_in_parts_of_the_month_of_their_own(number: int) -> None:
    days = year(msgspec.structs.replace(ONCE, cross_checks_per_month=number))
    assert [day.month for day in days] == [month for month in range(1, 13) for _ in range(number)]


def test_a_gateway_that_was_off_on_its_day_makes_up_for_it_on_the_next() -> None:
    first = year(ONCE)[0]
    assert year(ONCE, off=[first])[0] == first + timedelta(days=1)


def test_none_is_due_where_none_is_wanted_or_the_engine_is_the_same() -> None:
    assert year(msgspec.structs.replace(ONCE, cross_checks_per_month=0)) == []
    assert year(msgspec.structs.replace(ONCE, cross_check_engine="librespeed")) == []


def test_the_month_keeps_back_what_the_day_will_cost_until_it_was(tmp_path: Path) -> None:
    book = SpeedBook(month="2027-01", down_mbps=20.0, up_mbps=5.0)
    day_bytes = 4 * speed_plan.SPARE * 25 * MB / 8 * 10
    assert cross_check.reserve_bytes(book, ONCE) == day_bytes
    done = msgspec.structs.replace(book, cross_checked="2027-01-09")
    assert cross_check.reserve_bytes(done, ONCE) == 0
    tight = msgspec.structs.replace(ONCE, monthly_budget_mb=2000)
    left = speed_plan.thrift(book, tight, 60, cross_check.reserve_bytes(book, tight))
    assert speed_plan.thrift(book, tight, 60).mode == "full" or left.mode != "full"
    assert cross_check.fits(book, ONCE, ms(date(2027, 1, 9)))
    learnt = msgspec.structs.replace(book, costs={"ndt7": 900 * MB})
    assert not cross_check.fits(learnt, ONCE, ms(date(2027, 1, 9)))
    spent = msgspec.structs.replace(book, bytes=7_900 * MB)
    assert not cross_check.fits(spent, ONCE, ms(date(2027, 1, 9)))


# ---------------------------------------------------------------- the tests themselves


def gateway_on_its_day(folder: Path, rate: float = 1.0, **settings: object) -> Gateway:
    """A gateway whose drawn day has come: of a secret that draws the first days of the month."""
    gateway = Gateway(folder, msgspec.structs.replace(ONCE, **settings), rate=rate)
    now_ms = gateway.clock.stamp().wall_ms
    seeds = (number.to_bytes(32) for number in range(1000))
    gateway.ledger.secret = next(
        seed for seed in seeds if cross_check.due_engine(SpeedBook(), ONCE, "g1", seed, now_ms) == "ndt7"
    )
    return gateway


def test_each_slot_of_the_day_ends_with_a_test_of_the_other_engine_and_its_own_grant(tmp_path: Path) -> None:
    gateway = gateway_on_its_day(tmp_path)

    async def day() -> None:
        for name in ("08:00-09:00", "10:00-13:00", "14:00-17:00"):
            await gateway.speed.due("routine", gateway.slot(f"2026-09-21 {name}"))

    asyncio.run(day())
    engines = [context.settings.speed.engine for context in gateway.contexts]
    assert engines == ["librespeed", "ndt7"] * 3
    assert [ask.purpose for ask in gateway.asks] == ["routine", "manual"] * 3
    assert len({ask.id for ask in gateway.asks}) == 6
    assert [context.test_id for context in gateway.contexts] == [ask.id for ask in gateway.asks]
    others = gateway.kept[1::2]
    assert {(reading.engine, reading.purpose) for reading in others} == {("ndt7", "manual")}
    assert [reading.slot for reading in others] == [reading.slot for reading in gateway.kept[::2]]
    assert all(wire.is_second_opinion(reading) for reading in others)
    book = SpeedLedger(tmp_path).book
    assert (book.bytes, book.cross_checked) == (60 * MB, "2026-09-21")
    assert (book.costs["ndt7"], book.down_mbps) == (10 * MB, 20.0)


@pytest.mark.parametrize(
    "change",
    [
        {"supply": "battery"},
        {"failover": True},
    ],
)
def test_on_battery_and_on_the_metered_line_engines_are_not_compared(tmp_path: Path, change: dict[str, object]) -> None:
    gateway = gateway_on_its_day(tmp_path)
    for name, value in change.items():
        setattr(gateway, name, value)
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert all(ask.purpose == "routine" for ask in gateway.asks)
    assert SpeedLedger(tmp_path).book.cross_checked == ""


def test_without_a_grant_or_past_the_budget_there_is_none(tmp_path: Path) -> None:
    gateway = gateway_on_its_day(tmp_path, rate=10_000)  # half an hour in 0.18 s
    gateway.answer = lambda ask: None if ask.purpose == "manual" else gateway.granted(ask)
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert [context.settings.speed.engine for context in gateway.contexts] == ["librespeed"]
    poor = gateway_on_its_day(tmp_path / "poor", monthly_budget_mb=300)
    asyncio.run(poor.speed.due("routine", poor.slot()))
    assert [ask.purpose for ask in poor.asks] == ["routine"]


def test_a_test_that_fails_is_charged_what_the_line_moved_and_named_by_its_engine(tmp_path: Path) -> None:
    gateway = gateway_on_its_day(tmp_path)
    gateway.result = wire.SpeedReading(failure=wire.Failure(cause="refused", detail="by design"))
    asyncio.run(gateway.speed.due("routine", gateway.slot()))
    assert gateway.kept[1].engine == "ndt7"
    assert SpeedLedger(tmp_path).book.bytes == 24 * MB
