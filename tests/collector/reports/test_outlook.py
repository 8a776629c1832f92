"""A month is at risk before it is below: days left by its trend, and the incident, the digest and the pages of it."""

from __future__ import annotations

import zlib
from collections import Counter

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.common.words import plain
from collector.common.scope import EVERYWHERE
from collector.desk import tables
from collector.desk.alerts.digest import digest
from collector.desk.alerts.digests import facts_of
from collector.desk.risk import follow, rows
from collector.desk.risk.rows import MonthRisk
from collector.register import dated
from collector.register.centers import Center
from collector.reports import day_store
from collector.reports.day_sheets import Availability, CriterionDay, DaySheet, Samples, packed_sheet
from collector.reports.ledger import BUCKETS
from collector.reports.monthly_verdicts import share_verdict
from collector.reports.outlook import schedule
from collector.reports.outlook.trend import BURNS, burning, days_left
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless_standards

STANDARDS = timeless_standards()
LOSS = STANDARDS.versions[0].by_id["internet.loss"]
DAY = 86_400_000
CENTER = Center(
    code="LHR-1", name="Gulberg", tier="three", seats_promised=10, lifecycle="declared", opening="daily 09:00-21:00"
)


def samples(met: int, counted: int) -> Samples:
    return Samples(counted=counted, met=met)


@pytest.mark.parametrize(
    ("month", "recent", "days", "to_come", "left"),
    [
        ((1000, 1000), (700, 700), 10, 20, None),  # nothing falls short
        ((950, 1000), (665, 700), 10, 20, None),  # exactly what is asked, and so on
        ((900, 1000), (630, 700), 10, 20, 5),  # 150 may be missed, 100 were, 10 more each day
        ((850, 1000), (595, 700), 10, 20, 0),  # the last of them is gone
        ((840, 1000), (700, 700), 10, 20, 0),  # it cannot any more, however well it goes now
        ((900, 1000), (700, 700), 10, 20, None),  # it has been mended
        ((1000, 1000), (560, 700), 10, 20, 7),  # it has just begun
        ((50, 100), (50, 100), 2, 28, None),  # two days are no trend
        ((0, 0), (0, 0), 10, 20, None),
    ],
)
def test_days_left(month, recent, days: int, to_come: int, left: int | None) -> None:
    assert days_left(95.0, samples(*month), samples(*recent), days, to_come) == left


# Of a month of 30 days with 100 samples each, of which 95 % are asked: what the last days missed, newest last.
STORIES = {
    "well": ([0] * 10, None),
    "what is allowed, each day": ([5] * 10, None),
    "slow": ([0] * 3 + [8] * 7, 11),  # 150 may be missed, 56 were
    "slow, and mended two days ago": ([0] * 3 + [20] * 5 + [0] * 2, None),
    "slow, with one good day": ([7] * 9 + [0], None),  # the last two days missed 3.5 each: it lasts
    "fast: two days of nearly nothing": ([0] * 8 + [50, 50], 1),  # a week says 14 a day: 3 days
    "one bad day": ([0] * 9 + [30], None),  # a week says 4.3 a day: it lasts, and 3 times is no fast burn
    "fast, and mended": ([0] * 8 + [50, 0, 0], None),
    "lost already, and mended": ([100, 60] + [0] * 8, 0),
}


@pytest.mark.parametrize("story", STORIES)
def test_slow_and_fast_burns(story: str) -> None:
    missed, left = STORIES[story]
    month = samples(100 * len(missed) - sum(missed), 100 * len(missed))
    lately = {days: samples(100 * days - sum(missed[-days:]), 100 * days) for days in (7, 2, 1)}
    found = burning(95.0, month, lately, len(missed), 30 - len(missed), BURNS)
    assert (found and found[0]) == left


def test_a_few_samples_of_a_day_make_no_fast_burn() -> None:
    """Two of four speed tests by chance."""
    lately = {7: samples(26, 28), 2: samples(6, 8), 1: samples(2, 4)}
    assert burning(90.0, samples(38, 40), lately, 10, 20, BURNS) is None


@settings(max_examples=200, deadline=None)
@given(
    asked=st.integers(50, 100), a_day=st.integers(1, 50), days=st.integers(3, 28), to_come=st.integers(0, 28),
    missed=st.lists(st.integers(0, 50), min_size=28, max_size=28),
)  # fmt: skip
def test_it_is_the_first_day_after_which_no_day_can_make_up(asked, a_day, days, to_come, missed) -> None:
    """Played day by day with the trend of all days: up to the day told the month can be met, and not after it."""
    short = sum(min(a_day, one) for one in missed[:days])
    counted = a_day * days
    left = days_left(asked, samples(counted - short, counted), samples(counted - short, counted), days, to_come)
    whole = a_day * (days + to_come)
    can = [100 * (whole - short - short / days * day) >= asked * whole - 1e-6 for day in range(to_come + 1)]
    assert left == (None if can[to_come] else max((day for day in range(to_come + 1) if can[day]), default=0))
    if left is None:
        assert share_verdict(asked, round(whole - short - short / days * to_come + 1e-6), whole) == "meets"


# ---------------------------------------------------------------- from sheets to people


def sheet(day: int, met: int) -> DaySheet:
    """Of a day of February 2026 with 100 samples of loss."""
    from_ms = dated.day_ms("2026-02-01") + (day - 1) * DAY
    minutes = {str(name): 0 for name in BUCKETS} | {"up": 720}
    found = CriterionDay(
        criterion=LOSS.id, subject="wan1", counted=100, met=met, values=((0.0, met),), slots=(), covered=700
    )
    return DaySheet(
        center=CENTER.code, from_ms=from_ms, to_ms=from_ms + DAY, standards=(), minutes=minutes, before=0, lost=0,
        availability=Availability(), criteria=(found,), seats=(), excused=(), sha256="",
    )  # fmt: skip


def put(store: Store, *sheets: DaySheet) -> None:
    with store.write() as conn:
        upsert(conn, schema.centers, [CENTER.row()])
        made = [
            {"center": one.center, "day_ms": one.from_ms, "marks": 0, "made_ms": one.to_ms,
             "body": zlib.compress(packed_sheet(one))}
            for one in sheets
        ]  # fmt: skip
        upsert(conn, schema.day_sheets, made)
        until = {"name": day_store.SHEETS_UNTIL, "value": str(max(one.to_ms for one in sheets))}
        upsert(conn, schema.about, [until])


def at(day: int) -> int:
    return dated.day_ms("2026-02-01") + (day - 1) * DAY + 3_600_000


def look(store: Store, now_ms: int) -> Counter[str]:
    while schedule.look(store, STANDARDS, now_ms, most=1):
        pass
    with store.read() as conn:
        found = rows.of_centers(conn, [CENTER.code]).get(CENTER.code, [])
    return Counter({one.criterion: one.days_left for one in found if one.subject == "wan1"})


def incidents(store: Store) -> list[tuple[str, str, str]]:
    with store.read() as conn:
        return [(one.family, one.state, one.severity) for one in tables.some(conn, sa.true())]


def test_a_month_that_falls_short_is_told_before_it_does(either_store: Store) -> None:
    """Nine good days, then days with a tenth of the samples too bad: of 2,800 samples 140 may be."""
    asked = LOSS.month.share_pct
    may_miss = round((100 - asked) / 100 * 2800)
    put(either_store, *(sheet(day, 100) for day in range(1, 10)))
    assert look(either_store, at(10)) == Counter()
    assert incidents(either_store) == []
    bad = may_miss // 12  # twelve such days are too many
    put(either_store, *(sheet(day, 100 - bad) for day in range(10, 17)))
    (left,) = look(either_store, at(17)).values()
    assert left == (may_miss - 7 * bad) // bad
    assert incidents(either_store) == [("month", "new", "notice")]
    with either_store.read() as conn:
        assert conn.scalars(sa.select(schema.incident_events.c.queued_ms)).all() == [tables.QUIET]
        facts = facts_of(conn, EVERYWHERE, STANDARDS, at(17))
    assert (
        f"- Gulberg: Packet loss, {left} days left until the month falls short"
        in digest("weekly", facts, "http://x", [plain()]).text.splitlines()
    )
    assert "مہینہ معیار سے گرنے میں" in digest("weekly", facts, "http://x", [plain("ur")]).text
    assert facts.incidents == []  # the risk says it already
    put(either_store, *(sheet(day, 100) for day in range(17, 24)))  # it was mended
    assert look(either_store, at(24)) == Counter()
    assert incidents(either_store) == [("month", "resolved", "notice")]


def test_one_round_a_day_each_center_once(sqlite_store: Store) -> None:
    put(sqlite_store, *(sheet(day, 0) for day in range(1, 5)))
    assert schedule.look(sqlite_store, STANDARDS, at(5)) == 1
    assert schedule.look(sqlite_store, STANDARDS, at(5)) == 0
    assert schedule.look(sqlite_store, STANDARDS, at(5) + DAY) == 0  # yesterday's sheets are not begun
    assert look(sqlite_store, at(5))[LOSS.id] == 1
    with sqlite_store.write() as conn:
        conn.execute(sa.update(schema.about).where(schema.about.c.name == schedule.PLACE).values(value="0 -"))
        conn.execute(
            sa.update(schema.day_sheets).where(schema.day_sheets.c.day_ms == at(4) - 3_600_000).values(made_ms=None)
        )
    assert schedule.look(sqlite_store, STANDARDS, at(5)) == 0  # one is still to be made
    assert schedule.look(sqlite_store, STANDARDS, at(5) + schedule.WAITS_MS) == 1


def test_a_new_month_begins_without_risks(sqlite_store: Store) -> None:
    put(sqlite_store, *(sheet(day, 0) for day in range(1, 29)))
    look(sqlite_store, at(28))
    assert incidents(sqlite_store) == [("month", "new", "notice")]
    assert look(sqlite_store, at(29)) == Counter()
    assert incidents(sqlite_store) == [("month", "resolved", "notice")]


def test_a_flag_of_the_same_criterion_is_an_incident_of_its_own(sqlite_store: Store) -> None:
    risk = MonthRisk("LHR-1", LOSS.id, "wan1", 0, 2, 80.0, 70.0, 95.0)
    with sqlite_store.write() as conn:
        follow.follow(conn, {"LHR-1": [risk]}, 5)
        follow.follow(conn, {"LHR-1": [risk]}, 6)  # again: the same
        (member,) = tables.memberships(conn, ["LHR-1"])
    assert (member.criterion, member.subject, member.severity) == (LOSS.id, "month wan1", "notice")


def test_what_is_far_off_is_a_row_without_an_incident(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn:
        follow.follow(conn, {"LHR-1": [MonthRisk("LHR-1", LOSS.id, "", 0, 8, 97.0, 90.0, 95.0)]}, 5)
    assert incidents(sqlite_store) == []
