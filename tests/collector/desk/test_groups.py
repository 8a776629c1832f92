"""Many centers, one incident: formed, joined, left, widened, shrunk; and centers that fail by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from collector.desk import work
from collector.register import calendar
from collector.register.calendar import CalendarEntry
from collector.store import schema, upsert
from tests.collector.standard.timeless import timeless_standards

Room = Any
STANDARDS = timeless_standards()
FEEDER = {"feeder": "LESCO F-7", "isp": "PTCL", "city": "Lahore", "district": "Lahore", "province": "Punjab"}
ELSEWHERE = {"feeder": "LESCO F-8", "isp": "Nayatel", "city": "Lahore", "district": "Lahore", "province": "Punjab"}


@pytest.fixture
def twelve(room: Room) -> list[str]:
    """Twelve centers of one feeder, among sixty of their district."""
    room.fleet(48, "O", **ELSEWHERE)
    codes: list[str] = room.fleet(12, "F", **FEEDER)
    return codes


def test_the_first_flag_says_it_for_all_whose_mains_are_cut(room: Room, twelve: list[str]) -> None:
    room.cut(twelve, 5)
    room.change("F-3", criterion="power.battery_low")
    assert room.living() == [("feeder", "LESCO F-7", "power", 12)]
    for code in ("F-4", "F-5", "F-6"):
        room.change(code, criterion="power.battery_low")
    room.silent(twelve[:6], 15)
    assert room.told() == [(1, "opened")]


def test_it_ends_when_the_last_of_them_is_well(room: Room, twelve: list[str]) -> None:
    room.cut(twelve, 5)
    room.change("F-3", criterion="power.battery_low")
    room.passes(20)
    room.cut(twelve[:11], over=True)
    room.change("F-3", "clear", "power.battery_low")
    room.passes(1)
    assert room.living() == [("feeder", "LESCO F-7", "power", 1)]
    room.cut(twelve, over=True)
    room.passes(1)
    assert room.living() == []
    assert [act for _, act in room.told()] == ["opened", "resolved"]


def test_seven_that_were_told_alone_become_part_of_the_eighth(room: Room, twelve: list[str]) -> None:
    for number, code in enumerate(twelve[:8]):
        room.cut([code], 4)
        room.change(code, criterion="power.battery_low")
        assert len([one for one in room.incidents() if one.is_open]) == (number + 1 if number < 7 else 1)
    assert room.living() == [("feeder", "LESCO F-7", "power", 8)]
    merged = [one for one in room.incidents() if one.state == "merged"]
    assert len(merged) == 7
    assert {one.merged_into for one in merged} == {room.incidents()[-1].id}
    assert (room.incidents()[-1].id, "opened") in room.told()
    assert not [act for _, act in room.told() if act == "resolved"]


def test_a_crowd_is_not_told_one_by_one_while_it_grows(room: Room, twelve: list[str]) -> None:
    room.cut(twelve[:4], 2)
    room.change("F-0", criterion="power.battery_low")
    assert room.incidents()[0].hold_ms == room.now_ms + 60_000
    room.cut(twelve, 2)
    room.change("F-1", criterion="power.battery_low")
    assert room.living() == [("feeder", "LESCO F-7", "power", 12)]
    assert room.told() == [(2, "opened")]


def test_what_was_over_before_it_was_told_is_told_to_nobody(room: Room, twelve: list[str]) -> None:
    room.cut(twelve[:4], 2)
    room.change("F-0", criterion="power.battery_low")
    room.change("F-0", "clear", "power.battery_low")
    assert room.told() == []


def test_one_that_claims_a_cut_against_eleven_neighbours_is_alone(room: Room, twelve: list[str]) -> None:
    room.cut(["F-0"], 5)
    room.change("F-0", criterion="power.battery_low")
    assert room.living() == [("center", "F-0", "power", 1)]
    assert room.incidents()[0].hold_ms == 0


def test_a_providers_trouble_in_a_city_is_one(room: Room, twelve: list[str]) -> None:
    codes = room.fleet(10, "P", **{**ELSEWHERE, "isp": "StormFiber", "feeder": ""})
    room.silent(codes)
    assert room.living() == [("provider", "StormFiber, Lahore", "dark", 10)]
    assert room.told() == [(1, "opened")]


def test_a_district_at_night_and_its_feeder_are_two_causes(room: Room, twelve: list[str]) -> None:
    room.cut(twelve, 5)
    room.change("F-0", criterion="power.battery_low")
    room.passes(60)
    codes = room.fleet(10, "P", **{**ELSEWHERE, "isp": "StormFiber", "feeder": ""})
    room.silent(codes)
    assert sorted(room.living()) == [
        ("feeder", "LESCO F-7", "power", 12),
        ("provider", "StormFiber, Lahore", "dark", 10),
    ]


def test_two_feeders_one_after_the_other_become_their_district(room: Room) -> None:
    one, other = room.fleet(12, "A", **FEEDER), room.fleet(12, "B", **ELSEWHERE)
    room.cut(one, 5)
    room.change("A-0", criterion="power.battery_low")
    assert room.living() == [("feeder", "LESCO F-7", "power", 12)]
    room.cut(other, 4)
    room.change("B-0", criterion="power.battery_low")
    assert room.living() == [("district", "Lahore", "power", 24)]
    assert [one.state for one in room.incidents()] == ["merged", "new"]


def test_the_owner_of_what_is_taken_in_keeps_it(room: Room) -> None:
    one, other = room.fleet(12, "A", **FEEDER), room.fleet(12, "B", **ELSEWHERE)
    room.cut(one, 5)
    room.change("A-0", criterion="power.battery_low")
    with room.store.write() as conn:
        work.start(conn, 1, "Ayesha", "", room.now_ms)
    room.cut(other, 4)
    room.change("B-0", criterion="power.battery_low")
    assert [(one.owner, one.state) for one in room.incidents() if one.is_open] == [("Ayesha", "in_progress")]


def test_a_group_that_shrinks_is_told_once_and_takes_nobody_in_any_more(room: Room, twelve: list[str]) -> None:
    room.silent(twelve)
    room.passes(5)
    room.back(twelve[2:])
    assert room.living() == [("feeder", "LESCO F-7", "dark", 2)]
    room.passes(5)
    assert [act for _, act in room.told()] == ["opened"]
    room.passes(6)
    assert [act for _, act in room.told()] == ["opened", "better"]
    room.silent(["F-9"])
    assert room.living() == [("feeder", "LESCO F-7", "dark", 2), ("center", "F-9", "dark", 1)]


def test_a_group_that_doubles_is_told_and_is_to_be_acknowledged_again(room: Room) -> None:
    codes = room.fleet(20, "A", **FEEDER)
    room.silent(codes[:8])
    with room.store.write() as conn:
        work.acknowledge(conn, 1, "Ayesha", "called", room.now_ms)
    room.passes(6)
    room.silent(codes[8:17], 5)
    room.passes(1)
    assert [act for _, act in room.told()] == ["opened", "worse"]
    (one,) = room.incidents()
    assert (one.state, one.centers, one.owner) == ("new", 17, "Ayesha")


def test_who_goes_dark_after_a_trouble_of_its_line_has_that_trouble(room: Room, twelve: list[str]) -> None:
    room.change("F-0", criterion="internet.loss")
    room.passes(20)
    room.silent(["F-0"])
    (one,) = room.incidents()
    assert (one.family, one.severity, room.acts(told=True)) == ("line", "urgent", ["opened", "worse"])


def test_a_deaf_collector_is_one(room: Room, twelve: list[str]) -> None:
    room.change("*", criterion="collector.deaf")
    assert room.living() == [("collector", "*", "collector", 1)]
    assert room.incidents()[0].cause.startswith('{"name":"collector"')


def test_a_center_that_was_split_off_is_not_taken_in_again(room: Room, twelve: list[str]) -> None:
    room.silent(twelve)
    with room.store.write() as conn:
        apart = work.split(conn, 1, ["F-3"], STANDARDS, "Ayesha", "its own fuse", room.now_ms)
    room.passes(1)
    assert room.living() == [("feeder", "LESCO F-7", "dark", 11), ("center", "F-3", "dark", 1)]
    room.back(twelve)
    assert room.living() == []
    assert room.acts(apart.id, told=True) == ["resolved"]


def test_suspended_centers_are_in_no_incident(room: Room) -> None:
    room.fleet(12, "S", **FEEDER, lifecycle="suspended")
    room.silent([f"S-{n}" for n in range(12)])
    assert room.incidents() == []


def test_centers_that_are_closed_by_the_clock_show_no_signs(room: Room) -> None:
    codes = room.fleet(12, "N", **FEEDER, opening="Mon-Sat 20:00-23:00")
    room.heard(codes, 8)
    room.change("N-0", criterion="internet.loss")
    assert [scope for scope, *_ in room.living()] == ["center"]


def test_a_national_outage_is_one_message(room: Room) -> None:
    for province in range(4):
        for district in range(5):
            where = {"feeder": "", "isp": f"I-{district}", "city": f"T-{province}-{district}"}
            area = {"district": f"D-{province}-{district}", "province": f"P-{province}"}
            room.fleet(30, f"N{province}{district}", **where, **area)
    some = [f"N{p}{d}-{n}" for p in range(4) for d in range(5) for n in range(0, 30, 3)]
    room.silent(some)
    assert room.living() == [("country", "*", "dark", 200)]
    assert room.told() == [(1, "opened")]
    room.passes(30)
    room.back(some)
    assert [act for _, act in room.told()] == ["opened", "resolved"]


def planned(room: Room, scope: str, subject: str, minutes: int) -> None:
    """Work in the calendar from now on, confirmed by a second person."""
    entry = CalendarEntry(
        kind="maintenance", scope=scope, subject=subject, from_ms=room.now_ms - 60_000,  # type: ignore[arg-type]
        to_ms=room.now_ms + minutes * 60_000, name="work", recorded_ms=room.now_ms, recorded_by="Ayesha",
        reason="announced",
    )  # fmt: skip
    with room.store.write() as conn:
        calendar.add(conn, [entry], "Bilal")


def test_nobody_is_called_for_planned_work_unless_it_takes_longer(room: Room, twelve: list[str]) -> None:
    planned(room, "feeder", "LESCO F-7", 30)
    room.cut(twelve, 1)
    room.change("F-0", criterion="power.battery_low")
    assert room.living() == [("feeder", "LESCO F-7", "power", 12)]
    assert room.told() == []
    room.passes(31)
    assert room.told() == [(1, "snooze_ended")]


def test_planned_work_at_one_center_hushes_no_other(room: Room, twelve: list[str]) -> None:
    planned(room, "center", "F-0", 30)
    room.change("F-0", criterion="seats.usable")
    assert room.told() == []
    room.change("F-1", criterion="seats.usable")
    assert room.told() == [(2, "opened")]
    room.silent(twelve)
    assert (3, "opened") in room.told()


def test_towns_that_go_dark_together_become_one_incident_of_their_province(room: Room) -> None:
    """Each was told by itself before enough of the province were in trouble."""
    room.fleet(20, "O", province="Sindh", isp="Nayatel", city="Karachi")
    towns = [
        room.fleet(10, town, isp="PTCL", city=town, district=town, province="Punjab", feeder=f"{town} F-1")
        for town in ("Lahore", "Multan", "Sahiwal")
    ]
    room.fleet(90, "W", isp="Nayatel", city="Lahore", district="Lahore", province="Punjab", feeder="F-9")
    room.silent(towns[0])
    room.silent(towns[1])
    room.passes(0.2)
    assert {scope for scope, *_ in room.living()} == {"feeder"}  # 20 of 120: two towns of many
    room.silent(towns[2])
    room.passes(0.2)
    assert room.living() == [("province", "Punjab", "dark", 30)]
    merged = [one for one in room.incidents() if one.state == "merged"]
    assert {one.merged_into for one in merged} == {next(one.id for one in room.incidents() if one.is_open)}
    room.back([code for town in towns for code in town])
    room.passes(0.2)
    assert room.living() == []


def test_a_cause_that_a_person_named_keeps_its_incident_apart(room: Room) -> None:
    towns = [
        room.fleet(10, town, isp="PTCL", city=town, district=town, province="Punjab", feeder=f"{town} F-1")
        for town in ("Lahore", "Multan")
    ]
    room.fleet(40, "W", isp="Nayatel", city="Lahore", district="Lahore", province="Punjab", feeder="F-9")
    room.silent(towns[0])
    with room.store.write() as conn:
        work.recause(conn, 1, "isp_down", "Bilal", "their NOC says so", room.now_ms)
    room.silent(towns[1])
    room.passes(0.2)
    assert len(room.living()) == 2


def test_a_feeder_without_mains_and_a_provider_that_fails_are_two(room: Room, twelve: list[str]) -> None:
    """Both in one district at the same time, a third of it together."""
    lines = room.fleet(8, "L", **{**ELSEWHERE, "isp": "Cable"})
    room.cut(twelve, 5)
    room.change("F-3", criterion="power.battery_low")
    flag = {"criterion": "internet.loss", "subject": "", "state": "raised", "since_ms": room.now_ms, "memory": "[]"}
    judged = {"judged_until_ms": room.now_ms, "verdict": "below", "value": 30.0, "bound": 2.0, "standard": "s"}
    with room.store.write() as conn:
        upsert(conn, schema.flags, [{"center": code, **flag, **judged, "reason": "{}"} for code in lines])
    room.changes(lines, "raised", "internet.loss")
    room.passes(0.2)
    assert {(scope, family) for scope, _, family, _ in room.living()} == {("feeder", "power"), ("provider", "line")}
