"""The life of an incident, without a database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collector.desk.incident import (
    BETTER_S,
    FLIPS,
    STEADY_S,
    WORSE_S,
    Incident,
    expired,
    is_steady,
    is_unstable,
    is_worse,
    priority,
    reopened,
    width_news,
)

NOON = 1_770_000_000_000
GROUP = Incident(
    id=1, scope="feeder", place="F-7", family="power", state="new", waiting_for="", owner="", severity="serious",
    unstable_ms=None, began_ms=NOON, opened_ms=NOON, changed_ms=NOON, resolved_ms=None, ack_until_ms=None,
    snoozed_until_ms=None, hold_ms=0, merged_into=None, cause="", cause_by="", centers=12, most=12, announced=12,
    announced_ms=NOON,
)  # fmt: skip


@pytest.mark.parametrize(
    ("centers", "after_s", "news"),
    [
        (12, BETTER_S, None), (23, WORSE_S, None), (24, WORSE_S - 1, None), (24, WORSE_S, "worse"),
        (6, BETTER_S - 1, None), (6, BETTER_S, "better"), (7, BETTER_S, None), (0, BETTER_S, None),
    ],
)  # fmt: skip
def test_width_is_told_when_it_has_doubled_or_stays_halved(centers: int, after_s: int, news: str | None) -> None:
    assert width_news(replace(GROUP, centers=centers), NOON + after_s * 1000) == news


def test_one_centers_incident_has_no_width() -> None:
    assert width_news(replace(GROUP, scope="center", centers=99), NOON + 10**7) is None


def test_what_runs_out_runs_out_once() -> None:
    acked = replace(GROUP, state="acknowledged", ack_until_ms=NOON + 1000, snoozed_until_ms=NOON + 2000)
    assert expired(acked, NOON + 999) == []
    assert expired(acked, NOON + 1000) == [("ack_expired", {"state": "new", "ack_until_ms": None})]
    assert [act for act, _ in expired(acked, NOON + 2000)] == ["ack_expired", "snooze_ended"]
    assert expired(replace(acked, state="resolved"), NOON + 9999) == []
    assert expired(replace(acked, state="in_progress", snoozed_until_ms=None), NOON + 9999) == []


def test_a_worsening_takes_an_acknowledgement_back_and_nothing_else() -> None:
    assert is_worse("warning", "urgent")
    assert not is_worse("urgent", "urgent")
    assert not is_worse("serious", "info")
    assert reopened(replace(GROUP, state="acknowledged")) == {"state": "new", "ack_until_ms": None}
    assert reopened(replace(GROUP, state="in_progress")) == {}


def test_what_comes_and_goes_is_unstable_until_it_rests() -> None:
    flips = [NOON - n * 60_000 for n in range(FLIPS)]
    assert is_unstable(flips, NOON)
    assert not is_unstable(flips[:-1], NOON)
    assert not is_unstable([flip - 3_600_000 for flip in flips], NOON)
    assert is_steady(NOON - STEADY_S * 1000, NOON)
    assert not is_steady(NOON - STEADY_S * 1000 + 1, NOON)


def test_priority_is_seat_minutes_by_severity() -> None:
    assert priority("urgent", 10, 30) == 2 * priority("serious", 10, 30) == 1200
    assert priority("notice", 100, 1000) == 0
