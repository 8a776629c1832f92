"""Round trips under load, and what they ask of the test."""

from __future__ import annotations

import pytest

from agent.probes.speed.latency import interval_s, rise_ms
from agent.probes.speed.multistream.transfer import longer_s


@pytest.mark.parametrize(("mbps", "interval"), [(0.0, 0.1), (0.478, 0.502), (0.1, 0.7), (20.0, 0.1)])
def test_echoes_take_no_more_than_a_500th_of_a_slow_line(mbps: float, interval: float) -> None:
    assert interval_s(mbps) == pytest.approx(interval, abs=0.001)


def test_the_rise_is_between_medians() -> None:
    assert rise_ms(30.0, [90.0, 100.0, 5000.0]) == 70.0


@pytest.mark.parametrize(("idle", "loaded"), [(None, [1.0] * 9), (30.0, []), (30.0, [99.0, 99.0])])
def test_too_few_answers_tell_no_rise(idle: float | None, loaded: list[float]) -> None:
    assert rise_ms(idle, loaded) is None


@pytest.mark.parametrize(("rtt_ms", "longer"), [(None, 0.0), (80.0, 0.0), (580.0, 3.0)])
def test_a_long_round_trip_prolongs_the_warm_up(rtt_ms: float | None, longer: float) -> None:
    assert longer_s(rtt_ms) == pytest.approx(longer)
