"""A well line does not stand in watch: the simulation of `python -m bench fleet.watch`, a few months of it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bench.fleet.watch import DRAWS, minutes_to_raise, month
from tests.collector.standard.timeless import timeless

MONTHS, WELL_PCT, PACKETS = 20, 0.3, 20
LOSS = timeless().by_id["internet.loss"]


@pytest.mark.parametrize("losses", DRAWS)
def test_a_well_line_is_in_watch_at_most_once_a_month(losses: str) -> None:
    chance = random.Random(7)
    months = [month(LOSS, DRAWS[losses](chance, WELL_PCT / 100, PACKETS), PACKETS) for _ in range(MONTHS)]
    assert sum(one.below for one in months) > 100 * MONTHS  # so often did a round look bad
    assert sum(one.watch for one in months) <= MONTHS
    assert sum(one.raised for one in months) <= MONTHS // 4


def test_the_first_bad_round_would_be_a_watch_every_quarter_of_an_hour() -> None:
    at_once = replace(LOSS, window=replace(LOSS.window, watch=1))
    found = month(at_once, DRAWS["by chance"](random.Random(7), WELL_PCT / 100, PACKETS), PACKETS)
    assert found.watch > 300


def test_a_bad_line_is_still_found_soon() -> None:
    chance = random.Random(7)
    took = [minutes_to_raise(LOSS, DRAWS["by chance"](chance, 0.05, PACKETS), PACKETS) for _ in range(50)]
    assert sorted(took)[25] <= 15
