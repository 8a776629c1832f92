"""One cause, one incident, one message: stories from readings to what the desk is told."""

from __future__ import annotations

from typing import Any

import pytest

from agent.wire import LinkReading
from collector.desk import causes
from tests.timelines.plays.desk_play import BATTERY, DRY, LOSSY, MAINS, WELL, DeskPlay

Story = Any


@pytest.fixture
def desk(story: Story) -> DeskPlay:
    return DeskPlay(story)


def test_a_feeder_of_twelve_is_two_messages(desk: DeskPlay) -> None:
    """Twelve of forty centers lose their mains for 25 minutes; their batteries give out one after the other."""
    twelve = desk.fleet(12, "F", feeder="LESCO F-7", city="Lahore", district="Lahore", isp="PTCL")
    others = desk.fleet(28, "O", feeder="LESCO F-8", city="Lahore", district="Lahore", isp="PTCL")
    desk.has_contact("LESCO", "118", "Lahore")
    died = [
        item
        for number, code in enumerate(twelve)
        for item in [
            *desk.minutes([code], "10:00", f"10:0{2 + number % 4}", WELL, BATTERY),
            *desk.minutes([code], f"10:0{2 + number % 4}", f"10:0{4 + number % 4}", WELL, DRY),
        ]
    ]
    desk.plays(
        desk.minutes(others, "09:50", "10:40", WELL, MAINS),
        desk.minutes(twelve, "09:50", "10:00", WELL, MAINS),
        died,
        desk.minutes(twelve, "10:25", "10:40", WELL, MAINS),
        until="10:39",
    )
    (opened, resolved), (first, last) = desk.messages(), desk.texts()
    cause = "Mains cut; the UPS carried the gateway"
    assert opened == ("10:03", f"Feeder LESCO F-7: 12 centers in trouble at once ({cause})")
    assert resolved[1].startswith("Feeder LESCO F-7: over after ")
    assert "Evidence: 12 of 12 centers at once" in first
    assert "Call: LESCO 118" in first
    assert "Call: LESCO 118" in last
    (one,) = desk.incidents()
    assert (one.scope, one.most, one.state, desk.acts(1)) == ("feeder", 12, "resolved", ["opened", "resolved"])


def test_batteries_that_give_out_an_hour_apart_are_one_cut(desk: DeskPlay) -> None:
    """The mains of six centers go at ten; half of the batteries last for half an hour, the others for an hour more."""
    six = desk.fleet(6, "F", feeder="LESCO F-7", city="Lahore", district="Lahore", isp="PTCL")
    others = desk.fleet(14, "O", feeder="LESCO F-8", city="Lahore", district="Lahore", isp="PTCL")
    died = [
        item
        for number, code in enumerate(six)
        for hour, minute in [(10 + number % 2, 30 + number)]
        for item in [
            *desk.minutes([code], "10:00", f"{hour}:{minute}", WELL, BATTERY),
            *desk.minutes([code], f"{hour}:{minute}", f"{hour}:{minute + 4}", WELL, DRY),
        ]
    ]
    desk.plays(
        desk.minutes(others, "09:50", "12:20", WELL, MAINS),
        desk.minutes(six, "09:50", "10:00", WELL, MAINS),
        died,
        desk.minutes(six, "12:00", "12:20", WELL, MAINS),
        until="12:19",
    )
    (one,) = desk.incidents()
    assert (one.scope, one.most, one.state, desk.acts(1)) == ("feeder", 6, "resolved", ["opened", "resolved"])


def test_the_lines_of_one_exchange_are_two_messages(desk: DeskPlay) -> None:
    """Four of a provider's twelve lines in a city fail, for half an hour; all others of the town go on."""
    town = {"city": "Lahore", "district": "Lahore", "isp": "PTCL"}
    four = desk.fleet(4, "X", exchange="PTCL Gulberg", feeder="LESCO F-7", **town)
    others = desk.fleet(8, "O", exchange="PTCL Cantt", feeder="LESCO F-7", **town)
    desk.plays(
        desk.minutes(others, "09:50", "10:50", WELL, MAINS),
        desk.minutes(four, "09:50", "10:00", WELL, MAINS),
        desk.minutes(four, "10:30", "10:50", WELL, MAINS),
        until="10:49",
    )
    (one,) = desk.incidents()
    assert (one.scope, one.place, one.most, one.state) == ("exchange", "PTCL Gulberg", 4, "resolved")
    assert [title.partition(":")[0] for _, title in desk.messages()] == ["Exchange PTCL Gulberg"] * 2


def test_two_that_are_all_of_a_feeder_are_one_cut(desk: DeskPlay) -> None:
    """Their batteries give out ten minutes apart; a third center's does so by itself, at the same time."""
    two, alone = desk.fleet(2, "F", feeder="MEPCO F-1"), desk.fleet(1, "A", feeder="MEPCO F-2")
    others = desk.fleet(12, "O", feeder="MEPCO F-2")
    worn = [
        *desk.minutes(two[:1], "10:00", "10:10", WELL, BATTERY), *desk.minutes(two[:1], "10:10", "10:20", WELL, DRY),
        *desk.minutes(two[1:], "10:00", "10:20", WELL, BATTERY), *desk.minutes(two[1:], "10:20", "10:30", WELL, DRY),
        *desk.minutes(alone, "09:50", "10:12", WELL, MAINS), *desk.minutes(alone, "10:12", "10:30", LOSSY, MAINS),
    ]  # fmt: skip
    desk.plays(
        desk.minutes(others, "09:50", "10:50", WELL, MAINS),
        desk.minutes(two, "09:50", "10:00", WELL, MAINS),
        worn,
        desk.minutes(two[:1], "10:20", "10:50", WELL, MAINS),
        desk.minutes(two[1:], "10:30", "10:50", WELL, MAINS),
        until="10:49",
    )
    found = {(one.scope, one.place): one for one in desk.incidents()}
    assert set(found) == {("feeder", "MEPCO F-1"), ("center", "A-000")}
    pair = found["feeder", "MEPCO F-1"]
    assert (pair.most, pair.state, desk.acts(pair.id)[0], desk.acts(pair.id)[-1]) == (
        2,
        "resolved",
        "opened",
        "resolved",
    )


CUT_OFF = LinkReading(loss_pct=100.0, fault_place="isp")


@pytest.mark.parametrize(("minute", "failing"), [(5, LOSSY), (12, CUT_OFF)])
def test_a_provider_that_fails_while_a_feeder_is_shed_is_one_incident_of_the_provider(
    desk: DeskPlay, minute: int, failing: Any
) -> None:
    """The feeder's own UPSs carry their centers: what people miss there is the provider's line, as next door."""
    town = {"city": "Lahore", "district": "Lahore", "isp": "PTCL"}
    shed = desk.fleet(3, "F", feeder="LESCO F-7", **town)
    powered = desk.fleet(4, "O", feeder="LESCO F-8", **town)
    others = desk.fleet(8, "N", feeder="LESCO F-8", city="Lahore", district="Lahore", isp="Nayatel")
    begin, end = f"10:{minute:02}", f"10:{minute + 20}"
    desk.plays(
        desk.minutes(others, "09:58", "10:50", WELL, MAINS),
        desk.minutes([*shed, *powered], "09:58", "10:00", WELL, MAINS),
        *(
            part
            for codes, power in ((shed, BATTERY), (powered, MAINS))
            for part in (
                desk.minutes(codes, "10:00", begin, WELL, power),
                desk.minutes(codes, begin, end, failing, power)
                if failing is LOSSY
                else desk.kept(codes, begin, end, failing, power),
                desk.minutes(codes, end, "10:50", WELL, power),
            )
        ),
        until="10:49",
    )
    (one,) = desk.incidents()
    assert (one.scope, one.most, one.state) == ("provider", 7, "resolved")
    cause = causes.of(one)
    assert cause is not None
    assert cause.name == "isp_down"


def test_a_battery_that_gives_out_as_the_mains_come_back_is_part_of_the_cut(desk: DeskPlay) -> None:
    """Eight of a feeder are cut for half an hour. One falls silent at once, one after a quarter of an hour: judged
    silent when the six others have mains again, and the incident takes in no strangers any more."""
    eight = desk.fleet(8, "F", feeder="LESCO F-7", city="Lahore", district="Lahore")
    others = desk.fleet(12, "O", feeder="LESCO F-8", city="Lahore", district="Lahore")
    at_once, late, six = eight[:1], eight[1:2], eight[2:]
    desk.plays(
        desk.minutes(others, "09:50", "10:50", WELL, MAINS),
        desk.minutes(eight, "09:50", "10:00", WELL, MAINS),
        desk.minutes(six, "10:00", "10:30", WELL, BATTERY),
        desk.minutes(six, "10:30", "10:50", WELL, MAINS),
        desk.minutes(late, "10:00", "10:16", WELL, BATTERY),
        desk.minutes([*at_once, *late], "10:33", "10:50", WELL, MAINS),
        until="10:49",
    )
    (one,) = desk.incidents(merged=True)
    assert (one.scope, one.most, one.state) == ("feeder", 8, "resolved")
    assert desk.acts(one.id) == ["opened", "resolved"]


def test_a_gateway_that_dies_in_another_town_is_no_part_of_a_feeder_s_cut(desk: DeskPlay) -> None:
    """Eight of a province's thirty are cut; two minutes later a plug is pulled far away, and that is judged first."""
    eight = desk.fleet(8, "F", feeder="PESCO F-1", city="Peshawar", district="Peshawar", province="KP")
    (alone,) = desk.fleet(1, "A", feeder="PESCO F-9", city="Dera", district="Dera", province="KP")
    others = desk.fleet(21, "O", feeder="PESCO F-2", city="Mardan", district="Mardan", province="KP")
    desk.plays(
        desk.minutes(others, "09:50", "11:10", WELL, MAINS),
        desk.minutes(eight, "09:50", "10:00", WELL, MAINS),
        desk.minutes(eight, "10:00", "10:40", WELL, BATTERY),
        desk.minutes([alone], "09:50", "10:02", WELL, MAINS),
        desk.minutes([*eight, alone], "11:00", "11:10", WELL, MAINS),
        until="11:09",
    )
    assert {(one.place, one.most, one.state) for one in desk.incidents()} == {
        ("PESCO F-1", 8, "resolved"),
        ("A-000", 1, "resolved"),
    }


def test_a_battery_that_runs_low_in_a_cut_names_the_cut(desk: DeskPlay) -> None:
    (code,) = desk.fleet(1)
    desk.plays(
        desk.minutes([code], "09:50", "10:00", WELL, MAINS),
        desk.minutes([code], "10:00", "10:10", WELL, DRY),
        desk.minutes([code], "10:10", "10:30", WELL, MAINS),
        until="10:29",
    )
    (one,) = desk.incidents()
    cause = causes.of(one)
    assert cause is not None
    assert (one.family, one.state, cause.name, cause.grade) == ("power", "resolved", "mains_carried", "shown")
