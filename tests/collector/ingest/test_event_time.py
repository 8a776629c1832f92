"""When a reading was taken, if its gateway's clock was wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire import Stamp
from collector.ingest.times.event_time import (
    FIRST_MS,
    LIVE_MS,
    SAME_MS,
    SLACK_MS,
    Ahead,
    Bracket,
    OffsetBounds,
    boots_of,
    bracket,
    dated,
)

RECEIVED = 1_795_000_000_000
ENROLLED = RECEIVED - 90 * 86_400_000
BACKLOG = Bracket(ENROLLED, RECEIVED)


def stamp(wall_ms: int, mono_ms: int = 0, boot: str = "b", clock: str = "unsynced") -> Stamp:
    return Stamp(wall_ms=wall_ms, mono_ms=mono_ms, boot=boot, clock=clock)


def event_times(stamps: Sequence[Stamp], when: Bracket, known: Mapping[str, Ahead] | None = None) -> list[int]:
    found = boots_of(stamps, when, known or {})
    return [dated(stamp.mono_ms, found[stamp.boot], when.received_ms, when.from_ms) for stamp in stamps]


def test_a_clock_that_can_be_right_is_believed() -> None:
    at = [stamp(RECEIVED - 3_600_000), stamp(RECEIVED - 1000, clock="synced"), stamp(RECEIVED, boot="c")]
    assert event_times(at[:1], BACKLOG) == [RECEIVED - 3_600_000]
    assert event_times(at[1:], BACKLOG) == [RECEIVED - 1000, RECEIVED]


def test_a_boot_in_1970_is_dated_by_its_monotonic_clock_as_late_as_can_be() -> None:
    at = [stamp(5_000, mono_ms=60_000), stamp(65_000, mono_ms=120_000), stamp(95_000, mono_ms=150_000)]
    assert event_times(at, BACKLOG) == [RECEIVED - 90_000, RECEIVED - 30_000, RECEIVED]


def test_a_boot_that_synchronised_later_in_the_batch_dates_its_beginning() -> None:
    at = [stamp(5_000, mono_ms=10_000), stamp(RECEIVED - 60_000, mono_ms=70_000, clock="synced")]
    assert event_times(at, BACKLOG) == [RECEIVED - 120_000, RECEIVED - 60_000]


def test_an_earlier_boot_is_put_before_the_next() -> None:
    at = [stamp(0, 50_000, "a"), stamp(1_000, 60_000, "a"), stamp(RECEIVED - 5_000, 9_000, "b", "synced")]
    assert event_times(at, BACKLOG) == [RECEIVED - 15_000, RECEIVED - 5_000, RECEIVED - 5_000]


def test_a_clock_ahead_of_ours_is_not_believed_even_if_it_says_synced() -> None:
    assert event_times([stamp(RECEIVED + SLACK_MS, clock="synced")], BACKLOG) == [RECEIVED + SLACK_MS]
    assert event_times([stamp(RECEIVED + SLACK_MS + 1, clock="synced")], BACKLOG) == [RECEIVED]


def test_live_readings_are_not_much_older_than_the_nonce_they_were_sent_after() -> None:
    live = bracket(live=True, issued_ms=RECEIVED - 60_000, enrolled_ms=ENROLLED, received_ms=RECEIVED)
    backlog = bracket(live=False, issued_ms=RECEIVED - 60_000, enrolled_ms=ENROLLED, received_ms=RECEIVED)
    hour_ago = [stamp(RECEIVED - 3_600_000)]
    assert live.from_ms == RECEIVED - 60_000 - LIVE_MS
    assert event_times(hour_ago, live) == [RECEIVED]
    assert event_times(hour_ago, backlog) == [RECEIVED - 3_600_000]


stamps = st.lists(
    st.builds(
        stamp,
        st.integers(0, 2**53),
        st.integers(0, 2**53),
        st.sampled_from("abc"),
        st.sampled_from(["synced", "unsynced"]),
    ),
    max_size=20,
)


@given(stamps)
def test_whatever_is_claimed_no_time_is_negative_or_beyond_receipt_and_slack(at: list[Stamp]) -> None:
    times = event_times(at, BACKLOG)
    assert len(times) == len(at)
    assert all(0 <= time_ms <= RECEIVED + SLACK_MS for time_ms in times)


def test_a_nonce_of_the_time_to_come_proves_nothing() -> None:
    """The collector's own clock was ahead when it gave the nonce out."""
    when = bracket(live=True, issued_ms=RECEIVED + 10**9, enrolled_ms=ENROLLED, received_ms=RECEIVED)
    assert when.from_ms == ENROLLED
    assert event_times([stamp(RECEIVED - 500, mono_ms=7)], when) == [RECEIVED - 500]


def test_what_a_boot_said_before_dates_what_comes_later_of_it() -> None:
    known = {"b": Ahead(RECEIVED - 100_000, sure=True)}
    at = [stamp(5_000, mono_ms=40_000), stamp(9_000, mono_ms=90_000)]
    assert event_times(at, BACKLOG, known) == [RECEIVED - 60_000, RECEIVED - 10_000]
    trembles = [stamp(RECEIVED - 20_000 + SAME_MS, mono_ms=80_000, clock="synced")]
    assert event_times(trembles, BACKLOG, known) == [RECEIVED - 20_000]


def test_live_readings_are_not_dated_by_a_clock_that_was_put_back_whatever_it_says_of_itself() -> None:
    """Both figures are too old for live readings."""
    hour_ago = {"b": Ahead(RECEIVED - 3_600_000, sure=True)}
    live = bracket(live=True, issued_ms=RECEIVED - 60_000, enrolled_ms=ENROLLED, received_ms=RECEIVED)
    assert event_times([stamp(RECEIVED - 3_900_000, clock="synced")], live, hour_ago) == [RECEIVED]
    assert event_times([stamp(RECEIVED - 3_900_000)], live, hour_ago) == [RECEIVED]


def test_no_clock_that_says_synchronised_is_believed_of_a_time_before_there_were_gateways() -> None:
    assert event_times([stamp(5_000, mono_ms=5_000, clock="synced")], BACKLOG) == [RECEIVED]
    assert event_times([stamp(FIRST_MS, clock="synced")], Bracket(0, RECEIVED)) == [FIRST_MS]


def test_no_clock_is_believed_of_a_time_that_was_over_whatever_it_says_of_itself() -> None:
    after_ms = RECEIVED - 3_600_000
    times = {"issued_ms": None, "enrolled_ms": ENROLLED, "received_ms": RECEIVED}
    closed = bracket(live=False, after_ms=after_ms, **times)
    old = [stamp(after_ms - 1, clock="synced"), stamp(after_ms, boot="c", clock="synced")]
    assert event_times(old[:1], closed) == [RECEIVED]
    assert event_times(old[1:], closed) == [after_ms]
    known = {"b": Ahead(after_ms - 100_000, sure=True)}
    assert event_times([stamp(0, mono_ms=10_000)], closed, known) == [after_ms]
    before_enrolment = [stamp(ENROLLED - 1, clock="synced")]
    assert event_times(before_enrolment, bracket(live=False, **times)) == [RECEIVED]
    assert bracket(live=False, after_ms=RECEIVED + 1, **times).from_ms == ENROLLED


@pytest.mark.parametrize(
    ("until_ms", "figure_ms"),
    [(math.inf, 150), (155, 145), (50, 150)],
    ids=["the last of its gateway", "over before the next", "over before receipts show it"],
)
def test_a_boot_ends_where_the_next_begins_unless_receipts_show_otherwise(until_ms: float, figure_ms: int) -> None:
    bounds = OffsetBounds(floor_ms=100, limit_ms=200, claim_ms=150, last_ms=10)
    assert bounds.figure(until_ms) == figure_ms
