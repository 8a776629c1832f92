"""What the desk hears when one center has two troubles, when a trouble comes and goes, and when a group shrinks."""

from __future__ import annotations

from typing import Any

import pytest

from collector.desk import work
from tests.timelines.plays.desk_play import BATTERY, DRY, LOSSY, MAINS, WELL, DeskPlay

Story = Any


@pytest.fixture
def desk(story: Story) -> DeskPlay:
    return DeskPlay(story)


def test_two_causes_in_one_center_are_two_incidents_each_with_its_end(desk: DeskPlay) -> None:
    """A lossy line, and a battery that runs empty while it lasts: neither hides the other."""
    one = desk.fleet(1)
    desk.plays(
        desk.minutes(one, "09:50", "10:00", WELL, MAINS),
        desk.minutes(one, "10:00", "10:20", LOSSY, MAINS),
        desk.minutes(one, "10:20", "10:30", LOSSY, DRY),
        desk.minutes(one, "10:30", "11:00", LOSSY, MAINS),
        desk.minutes(one, "11:00", "11:40", WELL, MAINS),
        until="11:39",
    )
    families = {incident.family: incident for incident in desk.incidents()}
    assert set(families) == {"line", "power"}
    assert {incident.state for incident in families.values()} == {"resolved"}
    assert [desk.acts(incident.id) for incident in desk.incidents()] == [["opened", "resolved"]] * 2
    assert len(desk.messages()) == 4
    assert families["power"].resolved_ms < families["line"].resolved_ms  # type: ignore[operator]


@pytest.mark.slow
def test_what_comes_and_goes_is_one_unstable_incident(desk: DeskPlay) -> None:
    """A low battery that is there for two minutes and gone for ten, all morning: told at first, that it is unstable,
    and once more when it has rested."""
    one = desk.fleet(1)
    parts = []
    for start in range(0, 120, 12):
        first, turn, end = (f"{10 + at // 60}:{at % 60:02}" for at in (start, start + 3, start + 12))
        parts += [desk.minutes(one, first, turn, WELL, DRY), desk.minutes(one, turn, end, WELL, MAINS)]
    desk.plays(desk.minutes(one, "09:50", "10:00", WELL, MAINS), *parts,
               desk.minutes(one, "12:00", "13:10", WELL, MAINS), until="13:09")  # fmt: skip
    (incident,) = desk.incidents()
    acts = desk.acts(incident.id)
    assert acts.count("unstable") == 1
    assert acts[-2:] == ["steady", "resolved"]
    assert len(desk.messages()) <= 7
    quiet = desk.messages()[-1][0]
    assert quiet > "12:20"  # nothing between the word that it is unstable and its end


def test_what_gets_worse_after_somebody_took_it_is_told_again(desk: DeskPlay) -> None:
    one = desk.fleet(1)

    def take(play: DeskPlay) -> None:
        with play.story.store.write() as conn:
            work.acknowledge(conn, play.incidents()[0].id, "Ayesha", "looking", play.now_ms)

    gone = BATTERY.__class__(output_state="battery", battery_replace=True, battery_status="normal", runtime_s=1800.0)
    desk.plays(
        desk.minutes(one, "09:50", "10:00", WELL, MAINS),
        desk.minutes(one, "10:00", "10:40", WELL, gone),
        desk.minutes(one, "10:40", "11:00", WELL, DRY),
        until="10:59",
        then={"10:35": take},
    )
    (incident,) = desk.incidents()
    assert desk.acts(incident.id) == ["opened", "acknowledged", "worse"]
    assert (incident.state, incident.severity, incident.owner) == ("new", "urgent", "Ayesha")


@pytest.mark.slow
def test_a_parent_that_shrinks_is_better_once_and_then_over(desk: DeskPlay) -> None:
    """Twelve of a feeder go dark on battery; eight come back, the rest a while later."""
    twelve = desk.fleet(12, "F", feeder="LESCO F-7", city="Lahore", district="Lahore", isp="PTCL")
    desk.plays(
        desk.minutes(twelve, "09:50", "10:00", WELL, MAINS),
        desk.minutes(twelve, "10:00", "10:15", WELL, DRY),
        desk.minutes(twelve[:8], "10:15", "11:10", WELL, MAINS),
        desk.minutes(twelve[8:], "10:15", "10:45", WELL, DRY),
        desk.minutes(twelve[8:], "10:45", "11:10", WELL, MAINS),
        until="11:09",
    )
    (incident,) = desk.incidents()
    assert desk.acts(incident.id) == ["opened", "better", "resolved"]
    assert incident.most == 12
    assert [title.partition(":")[0] for _, title in desk.messages()] == ["Feeder LESCO F-7"] * 3
