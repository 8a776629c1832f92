"""Feeders as people write them, and as the register changes while they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from collector.desk import causes
from collector.judging.outages.wires import keys_of
from collector.store import schema
from tests.timelines.plays.desk_play import BATTERY, DRY, MAINS, WELL, DeskPlay

Story = Any
TOWN = {"city": "Lahore", "district": "Lahore", "province": "Punjab"}


@pytest.fixture
def desk(story: Story) -> DeskPlay:
    return DeskPlay(story)


def shed(desk: DeskPlay, codes: Sequence[str]) -> list[Any]:
    """Cut from 10:00 to 10:20; batteries run low one after the other."""
    parts = [desk.minutes(codes, "09:55", "10:00", WELL, MAINS), desk.minutes(codes, "10:20", "10:26", WELL, MAINS)]
    for number, code in enumerate(codes):
        low = f"10:{5 + number:02}"
        parts += [desk.minutes([code], "10:00", low, WELL, BATTERY), desk.minutes([code], low, "10:20", WELL, DRY)]
    return [item for part in parts for item in part]


def test_a_feeder_is_one_however_it_is_written(desk: DeskPlay) -> None:
    names = ("LESCO کینال ۷", "LESCO کینال ۷", "lesco کینال ۷", "LESCO كينال ۷")  # the last in Arabic letters
    codes = [code for number, name in enumerate(names) for code in desk.fleet(1, f"F{number}", feeder=name, **TOWN)]
    desk.plays(shed(desk, codes), until="10:25")
    (one,) = desk.incidents(merged=True)
    assert (one.scope, one.place, one.most, one.state) == ("feeder", names[0], 4, "resolved")
    cause = causes.of(one)
    assert cause is not None
    assert (cause.evidence[0].code, dict(cause.evidence[0].params)) == ("incident.group", {"n": 4, "whole": 4})
    assert desk.acts(one.id) == ["opened", "resolved"]


def test_feeders_of_one_name_in_two_provinces_are_two(desk: DeskPlay) -> None:
    """Only Lahore's is cut; all of it, though half of all that hang on a feeder of that name."""
    mine = desk.fleet(3, "L", feeder="City", **TOWN)
    theirs = desk.fleet(3, "K", feeder="City", city="Karachi", district="Karachi", province="Sindh")
    desk.plays(shed(desk, mine), desk.minutes(theirs, "09:55", "10:26", WELL, MAINS), until="10:25")
    (one,) = desk.incidents(merged=True)
    assert (one.scope, one.place, one.most, one.state) == ("feeder", "City, Punjab", 3, "resolved")


def test_names_of_one_wire() -> None:
    counts = {
        ("LESCO F-7", "Punjab"): 5, ("lesco f-7", "Punjab"): 1, ("Lesco F-7", ""): 1,
        ("City", "Punjab"): 2, ("CITY", "Sindh"): 1, ("City", ""): 1,
    }  # fmt: skip
    assert keys_of(counts) == {
        ("LESCO F-7", "Punjab"): "LESCO F-7", ("lesco f-7", "Punjab"): "LESCO F-7", ("Lesco F-7", ""): "LESCO F-7",
        ("City", "Punjab"): "City, Punjab", ("CITY", "Sindh"): "City, Sindh", ("City", ""): "City",
    }  # fmt: skip


@pytest.mark.parametrize("moved", [4, 1])
def test_what_the_register_says_during_a_cut_divides_no_incident(desk: DeskPlay, moved: int) -> None:
    """The whole feeder is renamed, or one of its centers is moved to another, before most batteries run low."""
    codes, others = desk.fleet(4, "F", feeder="LESCO F-7", **TOWN), desk.fleet(3, "O", feeder="LESCO F-8", **TOWN)

    def move(play: DeskPlay) -> None:
        mine, name = schema.centers.c.center.in_(codes[-moved:]), "LESCO F-7a" if moved == 4 else "LESCO F-8"
        with play.story.store.write() as conn:
            conn.execute(sa.update(schema.centers).where(mine).values(feeder=name))

    parts = [shed(desk, codes), desk.minutes(others, "09:55", "10:26", WELL, MAINS)]
    desk.plays(*parts, until="10:25", then={"10:07": move})
    (one,) = desk.incidents(merged=True)
    assert (one.place, one.most, one.state, desk.acts(one.id)) == ("LESCO F-7", 4, "resolved", ["opened", "resolved"])
