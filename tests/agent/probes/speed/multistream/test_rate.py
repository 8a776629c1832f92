"""Counters into rates."""

from __future__ import annotations

import pytest

from agent.probes.speed.multistream.rate import fall, settled, slope_mbps, total

TIMES = [i * 0.05 for i in range(60)]


def test_the_slope_of_an_even_curve_is_its_rate() -> None:
    assert slope_mbps(TIMES, [2_500_000 * time for time in TIMES]) == pytest.approx(20.0)


def test_one_late_sample_moves_the_slope_less_than_the_ends_would() -> None:
    curve = [2_500_000 * time for time in TIMES]
    curve[-1] += 500_000
    by_ends = (curve[-1] - curve[0]) / (TIMES[-1] - TIMES[0]) * 8 / 1e6
    found = slope_mbps(TIMES, curve)
    assert found is not None
    assert found - 20 < 0.5 * (by_ends - 20)


@pytest.mark.parametrize("times", [[], [1.0], [1.0, 1.0]])
def test_no_slope_without_two_distinct_times(times: list[float]) -> None:
    assert slope_mbps(times, [5.0] * len(times)) is None


def test_an_even_curve_has_settled_and_a_growing_one_has_not() -> None:
    assert settled(TIMES, [1e6 * time for time in TIMES], 1.8)
    assert not settled(TIMES, [1e6 * time**1.2 for time in TIMES], 1.8)


def test_nothing_has_settled_before_the_span_is_full() -> None:
    assert not settled(TIMES[:25], [1e6 * time for time in TIMES[:25]], 1.8)


def test_a_stalled_curve_has_not_settled() -> None:
    assert not settled(TIMES, [7.0] * len(TIMES), 1.8)


def test_curves_that_begin_late_or_end_early_add_up() -> None:
    assert total([(0, [1, 2, 3]), (2, [10, 20]), (3, [])], 5) == [1, 2, 13, 23, 23]


# ---------------------------------------------------------------- a rate that falls for good


def stepped(early_mbps: float, late_mbps: float, at_s: float, end_s: float = 5.0) -> tuple[list[float], list[float]]:
    times = [i * 0.05 for i in range(round(end_s / 0.05) + 1)]
    rates = [(min(time, at_s) * early_mbps + max(0.0, time - at_s) * late_mbps) * 1e6 / 8 for time in times]
    return times, rates


@pytest.mark.parametrize(("early", "late", "at_s"), [(60, 8, 1.3), (20, 10, 2.0), (300, 100, 3.5), (4, 2, 0.8)])
def test_a_rate_that_falls_is_found_where_it_falls(early: float, late: float, at_s: float) -> None:
    times, totals = stepped(early, late, at_s)
    place = fall(times, totals)
    assert place is not None
    assert times[place] == pytest.approx(at_s, abs=0.1)
    assert slope_mbps(times[place:], totals[place:]) == pytest.approx(late, rel=0.02)


@pytest.mark.parametrize(("early", "late"), [(8, 8), (8, 7), (8, 60), (0, 8), (0, 0)])
def test_a_steady_rate_one_that_rises_and_none_do_not_fall(early: float, late: float) -> None:
    assert fall(*stepped(early, late, 1.5)) is None


def test_a_rate_that_swings_does_not_fall() -> None:
    times = [i * 0.05 for i in range(100)]
    totals, sum_bytes = [], 0.0
    for i in range(100):
        sum_bytes += 50_000 * (1.5 if i // 10 % 2 else 0.5)
        totals.append(sum_bytes)
    assert fall(times, totals) is None


@pytest.mark.parametrize("at_s", [0.1, 4.9])
def test_what_lasts_too_short_is_not_judged(at_s: float) -> None:
    assert fall(*stepped(60, 8, at_s)) is None
