"""Every open minute in exactly one bucket."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.common.center_time import TZ
from collector.common.months import month_after, months_within
from collector.register.opening_hours import is_open, open_minutes, parse
from collector.reports.ledger import BUCKETS, Ledger, MinuteStates, Span, ledger, minutes_of, minutes_open

MINUTE = 60_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TZ)).timestamp() * 1000)


def test_open_minutes_are_those_of_the_opening_hours() -> None:
    hours = parse("Mon-Sat 09:00-21:00")
    span = at("2026-02-01T00:00"), at("2026-03-01T00:00")
    assert len(minutes_open(hours, *span)) == open_minutes(hours, *span) == 24 * 12 * 60


def test_a_reading_speaks_for_its_minute_and_half_of_a_neighbour() -> None:
    assert list(minutes_of(10 * MINUTE)) == [9, 10]
    assert list(minutes_of(10 * MINUTE + 29_999)) == [9, 10]
    assert list(minutes_of(10 * MINUTE + 45_000)) == [10, 11]


def test_a_round_that_drifts_across_the_minutes_leaves_no_gap() -> None:
    readings = (start * 61_500 for start in range(1000))
    covered = {minute for reading in readings for minute in minutes_of(reading)}
    assert set(range(1000)) <= covered


def test_a_hole_of_some_minutes_shows() -> None:
    covered = {minute for reading in (5 * MINUTE, 10 * MINUTE) for minute in minutes_of(reading)}
    assert covered == {4, 5, 9, 10}


def test_the_first_bucket_that_claims_a_minute_has_it() -> None:
    states = MinuteStates(measured=[2, 3, 4, 5, 99], below=[4, 5, 99], down=[5])
    book = ledger(
        set(range(12)), states, enrolled_ms=2 * MINUTE, excused=[(11 * MINUTE, 12 * MINUTE)],
        dark=[(3 * MINUTE, 8 * MINUTE)], ours=[(7 * MINUTE, 9 * MINUTE)],
    )  # fmt: skip
    assert book.minutes == {
        "up": 2, "below": 1, "down": 1, "excused": 1, "unknown_explained": 2, "ours": 1, "unknown_unexplained": 2,
    }  # fmt: skip
    assert (book.open, book.before, book.measured, book.owed) == (10, 2, 4, 8)


def test_what_is_taken_out_is_taken_out_whatever_happened_in_it() -> None:
    """Excused minutes count for nobody and against nobody, not as good ones."""
    states = MinuteStates(measured=range(10), down=range(5))
    book = ledger(set(range(10)), states, enrolled_ms=0, excused=[(2 * MINUTE, 8 * MINUTE)])
    assert (book.minutes["excused"], book.minutes["down"], book.minutes["up"], book.owed) == (6, 2, 2, 4)


def test_before_a_gateway_is_enrolled_nothing_is_owed() -> None:
    book = ledger(set(range(60)), MinuteStates(), enrolled_ms=None)
    assert (book.before, book.open, book.owed) == (60, 0, 0)


SPANS = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**6)).map(lambda s: (s[0], s[0] + s[1])), max_size=5)
MINUTES = st.sets(st.integers(0, 200))


@given(MINUTES, MINUTES, MINUTES, MINUTES, st.none() | st.integers(0, 10**7), SPANS, SPANS, SPANS)
def test_the_buckets_sum_to_the_open_minutes(
    open_set: set[int],
    measured: set[int],
    below: set[int],
    down: set[int],
    enrolled_ms: int | None,
    excused: list[Span],
    dark: list[Span],
    ours: list[Span],
) -> None:
    states = MinuteStates(measured=measured, below=below, down=down)
    book = ledger(open_set, states, enrolled_ms=enrolled_ms, excused=excused, dark=dark, ours=ours)
    assert book.open + book.before == len(open_set)
    assert set(book.minutes) == set(BUCKETS)
    assert all(count >= 0 for count in book.minutes.values())
    assert book.measured <= book.owed <= book.open
    parts = [
        ledger(some, states, enrolled_ms=enrolled_ms, excused=excused, dark=dark, ours=ours)
        for some in ({m for m in open_set if m < 77}, {m for m in open_set if m >= 77})
    ]
    assert parts[0] + parts[1] == book  # however a period is cut


# ---------------------------------------------------------------- a whole year

YEAR = at("2027-01-01T00:00"), at("2028-01-01T00:00")
WEEKS = ("Mon-Sat 09:00-21:00", "Fri-Sat 22:00-02:00", "Mon,Wed 09:00-13:00,14:00-19:30; Sun 00:00-24:00")
DAYS = st.floats(0.0, 365.0).map(lambda days: YEAR[0] + round(days * 86_400_000))
TIMES = st.lists(
    st.tuples(DAYS, st.floats(0.0, 20.0)).map(lambda s: (s[0], s[0] + round(s[1] * 86_400_000))), max_size=4
)


def calendar(
    text: str, heard: list[Span], enrolled_ms: int | None, dark: list[Span], ours: list[Span]
) -> tuple[list[Ledger], Counter[str]]:
    """The year's ledgers, month by month, and the same minutes put into their buckets one by one."""
    hours = parse(text)
    measured = {
        minute for start, end in heard for at_ms in range(start, end, 7 * MINUTE) for minute in minutes_of(at_ms)
    }
    week = [is_open(hours, minute * MINUTE) for minute in range(7 * 24 * 60)]  # Pakistan has no summer time
    books, one_by_one = [], Counter[str]()
    for from_ms in months_within(YEAR[0], YEAR[1] - 1):
        minutes = minutes_open(hours, from_ms, month_after(from_ms))
        states = MinuteStates(measured=measured)
        books.append(ledger(minutes, states, enrolled_ms=enrolled_ms, dark=dark, ours=ours))
    for minute in range(YEAR[0] // MINUTE, YEAR[1] // MINUTE):
        if week[minute % len(week)]:
            one_by_one[_bucket(minute, measured, enrolled_ms, dark, ours)] += 1
    return books, one_by_one


def _bucket(minute: int, measured: set[int], enrolled_ms: int | None, dark: list[Span], ours: list[Span]) -> str:
    if minute in measured:
        return "up"
    if enrolled_ms is None or minute * MINUTE < enrolled_ms:
        return "before"
    within = [any(start // MINUTE <= minute < -(-end // MINUTE) for start, end in spans) for spans in (dark, ours)]
    return "unknown_explained" if within[0] else "ours" if within[1] else "unknown_unexplained"


@pytest.mark.row(46)
@settings(max_examples=5)
@given(st.sampled_from(WEEKS), TIMES, st.none() | DAYS, TIMES, TIMES)
def test_every_open_minute_of_a_year_is_in_one_bucket_and_none_is_unexplained(
    text: str, heard: list[Span], enrolled_ms: int | None, dark: list[Span], ours: list[Span]
) -> None:
    books, one_by_one = calendar(text, heard, enrolled_ms, dark, ours)
    assert len(books) == 12
    assert sum(book.open + book.before for book in books) == open_minutes(parse(text), *YEAR) == one_by_one.total()
    assert sum(book.before for book in books) == one_by_one["before"]
    assert {name: sum(book.minutes[name] for book in books) for name in BUCKETS} == {b: one_by_one[b] for b in BUCKETS}


@pytest.mark.control("months that begin at midnight of UTC, not of Pakistan", row=46)
def test_a_calendar_that_does_not_sum_is_seen() -> None:
    hours, shift_ms = parse("daily 00:00-24:00"), 5 * 3_600_000
    months = months_within(YEAR[0], YEAR[1] - 1)
    found = [minutes_open(hours, from_ms, month_after(from_ms) + shift_ms) for from_ms in months]
    assert sum(len(item) for item in found) != open_minutes(hours, *YEAR)
