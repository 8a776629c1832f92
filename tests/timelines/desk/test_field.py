"""Conditions of the field as small plays: two lines, dirty mains, clocks that jump, hours that cross midnight."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.wire import LinkReading, UpsReading
from collector.desk import causes
from collector.judging.outages import mains_cuts
from tests.timelines.plays.desk_play import BATTERY, LOSSY, MAINS, WELL, DeskPlay

Story = Any


def of(subject: str, reading: LinkReading) -> LinkReading:
    return msgspec.structs.replace(reading, subject=subject)


@pytest.mark.parametrize(("bad", "good"), [("wan1", "wan2"), ("wan2", "wan1")])
def test_of_two_lines_the_one_that_fails_names_the_cause(story: Story, bad: str, good: str) -> None:
    """The other carries, so the center is heard all the time."""
    desk = DeskPlay(story)
    one = desk.fleet(1)
    desk.plays(
        desk.minutes(one, "09:55", "10:00", of(bad, WELL), of(good, WELL), MAINS),
        desk.minutes(one, "10:00", "10:12", of(bad, LOSSY), of(good, WELL), MAINS),
        until="10:11",
    )
    (incident,) = desk.incidents()
    cause = causes.of(incident)
    assert cause is not None
    assert (incident.family, cause.name) == ("line", "isp_down")


@pytest.mark.slow
def test_a_generator_with_dirty_mains_is_many_cuts_and_no_message(story: Story) -> None:
    """The UPS goes to battery for a minute in every four and is full each time."""
    minutes = [story.at(f"10:{minute:02}", WELL, MAINS if minute % 4 else BATTERY) for minute in range(40)]
    story.plays(*minutes)
    story.wants()
    with story.store.read() as conn:
        assert len(mains_cuts.cuts_of(conn, "LHR-001")[""]) == 10


def test_a_ups_in_bypass_is_told_after_five_minutes_and_no_cut(story: Story) -> None:
    bypass = UpsReading(output_state="bypass", battery_status="normal", battery_replace=False, runtime_s=3600.0)
    story.plays(
        story.every_minute("10:00", "10:03", WELL, MAINS),
        story.every_minute("10:03", "10:15", WELL, bypass),
        story.every_minute("10:15", "10:25", WELL, MAINS),
    )
    story.wants(("10:08", "10:08", "raised", "power.protected"), ("10:20", "10:20", "clear", "power.protected"))
    with story.store.read() as conn:
        assert mains_cuts.cuts_of(conn, "LHR-001") == {}


@pytest.mark.slow
def test_hours_that_cross_midnight_are_watched_on_both_sides_of_it(story: Story) -> None:
    story.add_center("LHR-001", opening="Mon-Sat 20:00-02:00")
    story.plays(story.every_minute("23:40", "23:51", WELL), until="+1 02:30")
    story.wants(("+1 00:05", "+1 00:07", "raised", "presence.silent"))


@pytest.mark.slow
def test_whoever_closes_after_midnight_is_not_silent(story: Story) -> None:
    story.add_center("LHR-001", opening="Mon-Sat 20:00-02:00")
    story.plays(story.every_minute("+1 01:40", "+1 01:56", WELL), until="+1 02:30")
    story.wants()


def test_a_clock_set_back_by_an_hour_freezes_no_flag_for_long(story: Story) -> None:
    """What is dated before what was judged is history; the flag moves again once the clock has caught up."""
    back = [story.at(f"10:{10 + minute}", LOSSY, taken=f"09:{10 + minute}") for minute in range(20)]
    story.plays(story.every_minute("10:00", "10:10", WELL), *back, story.every_minute("10:30", "10:40", LOSSY))
    story.wants(("10:35", "10:35", "raised", "internet.loss"))


def test_a_leap_second_is_no_gap_and_no_verdict(story: Story) -> None:
    """Two readings a second apart have the same wall time."""
    twice = story.at("10:05", WELL) + story.at("10:05", WELL)
    story.plays(story.every_minute("10:00", "10:05", WELL), twice, story.every_minute("10:06", "10:10", WELL))
    story.wants()
    assert story.changes() == []
