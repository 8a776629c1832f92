"""Counters into rates."""

from __future__ import annotations

import pytest

from agent.probes.speed.multistream.rate import settled, slope_mbps, total

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
