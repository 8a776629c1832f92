"""What failed and what the desk was told of it: scripted days of a few centers (`python -m bench causes`: a year)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.desk.causes import played
from collector.desk import causes
from tests.timelines.plays.desk_play import LOSSY, MAINS, WELL, DeskPlay

Story = Any


def check(folder: Path, centers: int, days: int, seed: int) -> None:
    _, found = played(centers, days, seed, folder)
    print(found.report())
    whole = list(found.scores.values())
    seen = sum(score.true - score.missed for score in whole)
    assert found.false == []
    assert sum(score.missed for score in whole) == 0
    assert seen >= days / 2
    assert sum(score.incidents for score in whole) <= 1.5 * seen
    assert sum(score.named for score in whole) >= 0.9 * sum(score.nameable for score in whole)


def test_two_days_with_a_feeder_a_line_and_a_cable(tmp_path: Path) -> None:
    check(tmp_path, 150, 2, 55)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_two_weeks_of_two_hundred_centers(tmp_path: Path, seed: int) -> None:
    check(tmp_path, 200, 14, seed)


def test_a_line_that_is_well_again_keeps_the_cause_that_was_seen(story: Story) -> None:
    """Readings are well again some minutes before the flag is cleared."""
    desk = DeskPlay(story)
    one = desk.fleet(1)
    desk.plays(
        desk.minutes(one, "09:55", "10:00", WELL, MAINS),
        desk.minutes(one, "10:00", "10:20", LOSSY, MAINS),
        desk.minutes(one, "10:20", "10:40", WELL, MAINS),
        until="10:39",
    )
    (incident,) = desk.incidents()
    cause = causes.of(incident)
    assert incident.state == "resolved"
    assert cause is not None
    assert replace(cause, evidence=()) == replace(cause, name="isp_down", grade="likely", evidence=())
