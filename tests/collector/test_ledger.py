"""Every open minute in exactly one bucket."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from collector.ledger import BUCKETS, ledger, minutes_of, minutes_open
from collector.opening import open_minutes, parse

MINUTE = 60_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Karachi")).timestamp() * 1000)


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
    book = ledger(
        set(range(10)), [2, 3, 99], enrolled_ms=2 * MINUTE, dark=[(3 * MINUTE, 6 * MINUTE)],
        ours=[(5 * MINUTE, 8 * MINUTE)],
    )  # fmt: skip
    assert book.minutes == {"measured": 2, "before": 2, "dark": 2, "ours": 2, "silent": 2}
    assert (book.open, book.owed) == (10, 6)


def test_before_a_gateway_is_enrolled_nothing_is_owed() -> None:
    book = ledger(set(range(60)), [], enrolled_ms=None, dark=[], ours=[])
    assert (book.minutes["before"], book.owed) == (60, 0)


SPANS = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**6)).map(lambda s: (s[0], s[0] + s[1])), max_size=5)


@given(st.sets(st.integers(0, 200)), st.sets(st.integers(0, 200)), st.none() | st.integers(0, 10**7), SPANS, SPANS)
def test_the_buckets_sum_to_the_open_minutes(
    open_set: set[int],
    measured: set[int],
    enrolled_ms: int | None,
    dark: list[tuple[int, int]],
    ours: list[tuple[int, int]],
) -> None:
    book = ledger(open_set, measured, enrolled_ms=enrolled_ms, dark=dark, ours=ours)
    assert book.open == len(open_set)
    assert set(book.minutes) == set(BUCKETS)
    assert all(count >= 0 for count in book.minutes.values())
