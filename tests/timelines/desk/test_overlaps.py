"""Several of many samples, several causes at once, and ends that are nearly beginnings."""

from __future__ import annotations

from typing import Any

import pytest

from agent.wire import LinkReading
from tests.timelines.plays.desk_play import BATTERY, DRY, LOSSY, MAINS, WELL, DeskPlay

Story = Any
SLOW = LinkReading(rtt_median_ms=400.0, jitter_ms=3.0, loss_pct=0.0, fault_place="isp")


@pytest.fixture
def desk(story: Story) -> DeskPlay:
    return DeskPlay(story)


@pytest.mark.parametrize(("every", "incidents"), [(4, [("exchange", "Gulberg", 4)]), (2, [])])
def test_an_exchange_that_is_slow_in_six_of_eight_minutes_is_one_incident(
    desk: DeskPlay, every: int, incidents: list[tuple[str, str, int]]
) -> None:
    """Well in every fourth minute it fails for all its centers; in every second one for none."""
    codes = desk.fleet(4, "X", exchange="Gulberg", isp="PTCL", city="Lahore")
    minutes = [(f"10:{minute:02}", SLOW if minute % every else WELL) for minute in range(16)]
    slow = [item for code in codes for at, reading in minutes for item in desk.story.at(at, reading, center=code)]
    desk.plays(desk.minutes(codes, "09:56", "10:00", WELL), slow, until="10:15")
    assert [(one.scope, one.place, one.most) for one in desk.incidents(merged=True)] == incidents


def test_a_line_that_fails_before_and_after_a_cut_is_its_own_incident(desk: DeskPlay) -> None:
    """A center's line is lossy; its feeder is cut meanwhile, with its battery, and comes back first."""
    codes = desk.fleet(4, "F", feeder="LESCO F-7", city="Lahore")
    powers = (("10:10", MAINS), ("10:14", BATTERY), ("10:22", DRY), ("10:40", MAINS))
    parts, begin = [], "10:00"
    for end, power in powers:
        parts += [desk.minutes(codes[:1], begin, end, LOSSY, power), desk.minutes(codes[1:], begin, end, WELL, power)]
        begin = end
    desk.plays(*parts, desk.minutes(codes, "10:40", "10:50", WELL, MAINS), until="10:49")
    line, cut = desk.incidents(merged=True)
    assert (line.place, line.family, line.most, desk.acts(line.id)) == ("F-000", "line", 1, ["opened", "resolved"])
    assert (cut.place, cut.family, cut.most, desk.acts(cut.id)) == ("LESCO F-7", "power", 4, ["opened", "resolved"])
    assert line.resolved_ms is not None
    assert cut.resolved_ms is not None
    assert line.resolved_ms > cut.resolved_ms


@pytest.mark.parametrize(("begins", "count"), [("10:21", 1), ("10:22", 2)])
def test_what_begins_again_within_ten_minutes_is_the_same(desk: DeskPlay, begins: str, count: int) -> None:
    (code,) = desk.fleet(1)
    desk.plays(
        desk.minutes([code], "09:58", "10:00", WELL, MAINS),
        desk.minutes([code], "10:00", "10:10", WELL, DRY),
        desk.minutes([code], "10:10", begins, WELL, MAINS),
        desk.minutes([code], begins, "10:26", WELL, DRY),
        until="10:25",
    )
    assert len(desk.incidents()) == count
