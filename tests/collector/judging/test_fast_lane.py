"""A better way for tests is found, and busy, idle, slow and unknown lines are none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collector.judging.fast_lane import RULES, CounterLook, LaneDay, lane, missed, peak_mbps

CHEAT = LaneDay(tests_mbps=(60, 64, 58), fetches_mbps=(8.0,), peak_mbps=9.0)
HONEST = {
    "an idle line": replace(CHEAT, fetches_mbps=(45.0,)),
    "a busy line": replace(CHEAT, peak_mbps=55.0),
    "a slow line": LaneDay(tests_mbps=(4.0,), fetches_mbps=(1.5,)),
    "one good fetch of two": replace(CHEAT, fetches_mbps=(8.0, 50.0)),
    "no test on that day": replace(CHEAT, tests_mbps=()),
}


def test_tests_that_are_faster_than_all_else_are_found_after_some_days() -> None:
    assert lane([CHEAT] * (RULES.days - 1)) is None
    reason = lane([CHEAT] * RULES.days)
    assert reason is not None
    assert reason.params == {"n": 3, "whole": 3, "tests_mbps": 60.0, "others_mbps": 9.0}
    assert lane([replace(CHEAT, peak_mbps=None)] * RULES.days) is not None  # nothing counts the line


@pytest.mark.parametrize("day", list(HONEST))
def test_an_honest_day_is_none(day: str) -> None:
    assert lane([HONEST[day]] * 7) is None


def test_a_few_odd_days_among_many_are_none() -> None:
    assert lane([CHEAT] * 3 + [HONEST["an idle line"]] * 4) is None
    assert lane([CHEAT] * 4 + [HONEST["an idle line"]] * 3) is not None


def looks(*steps_mb: float, step_ms: int = 60_000) -> list[CounterLook]:
    total, found = 10**9, [CounterLook(at_ms=0, rx_bytes=10**9)]
    for number, step_mb in enumerate(steps_mb, 1):
        total += round(step_mb * 1e6)
        found.append(CounterLook(at_ms=number * step_ms, rx_bytes=total))
    return found


def test_the_peak_of_a_line_is_taken_outside_of_tests() -> None:
    assert peak_mbps(looks(15, 75, 30), []) == pytest.approx(10.0)
    assert peak_mbps(looks(15, 75, 30), [(70_000, 90_000)]) == pytest.approx(4.0)
    assert peak_mbps(looks(15, 75), [(0, 130_000)]) is None


def test_counters_that_start_anew_or_were_not_read_for_long_make_no_rate() -> None:
    assert peak_mbps(looks(15, step_ms=600_000), []) is None
    back = [*looks(15), CounterLook(at_ms=120_000, rx_bytes=5)]
    assert peak_mbps(back, []) == pytest.approx(2.0)
    assert peak_mbps([], []) is None


def test_a_gateway_that_hardly_ever_fetches_is_found() -> None:
    assert missed(["missed"] * 8 + ["fetched"] * 2) is not None
    assert missed(["missed"] * 6 + ["fetched"] * 4) is None
    assert missed(["missed"] * 8) is None
    assert missed(["excused"] * 20) is None
