"""Which neighbours have one cause: feeders that fail one after another, centers closed, opening later, never heard."""

from __future__ import annotations

from tests.collector.desk.conftest import Room


def test_two_feeders_of_two_towns_within_minutes_are_two_causes(room: Room) -> None:
    """All of both is half of the province, and the rest of it is well."""
    first = room.fleet(4, "UET", feeder="UET-F4", district="Quetta", province="Balochistan")
    second = room.fleet(8, "TBT", feeder="TBT-F1", district="Kech", province="Balochistan")
    room.fleet(12, "KDZ", feeder="KDZ-F1", district="Khuzdar", province="Balochistan")
    room.silent(first)
    room.passes(4)
    room.silent(second)
    room.passes(2)
    assert sorted(room.living()) == [("feeder", "TBT-F1", "dark", 8), ("feeder", "UET-F4", "dark", 4)]


def test_two_feeders_of_one_grid_station_that_fail_at_once_are_one_cause(room: Room) -> None:
    both = room.fleet(6, "A", feeder="F-1", district="Lahore") + room.fleet(6, "B", feeder="F-2", district="Lahore")
    room.fleet(12, "C", feeder="F-3", district="Lahore")
    room.cut(both, 16)
    room.silent(both)
    room.passes(2)
    assert room.living() == [("district", "Lahore", "power", 12)]


def test_many_feeders_that_fail_one_after_the_other_are_one_cause(room: Room) -> None:
    """An outage comes town by town: no two feeders explain it."""
    feeders = [room.fleet(3, f"F{n}", feeder=f"F-{n}", district="Lahore") for n in range(6)]
    for codes in feeders[:4]:
        room.silent(codes, 15)
        room.passes(2)
    assert room.living() == [("district", "Lahore", "dark", 12)]


def test_who_is_closed_and_switched_off_tells_nothing(room: Room) -> None:
    """On a Sunday four of nine are open, and all four go dark."""
    codes = room.fleet(4, "A", exchange="LHE-2", isp="PTCL", city="Lahore")
    closed = room.fleet(5, "B", exchange="LHE-2", isp="PTCL", city="Lahore", opening="Sat 09:00-21:00")
    room.fleet(20, "C", exchange="LHE-3", isp="Nayatel", city="Lahore")
    room.heard(closed, 36 * 60)
    room.dark |= set(closed)
    room.silent(codes)
    assert [(scope, centers) for scope, _, _, centers in room.living()] == [("exchange", 4)]


def test_who_is_closed_and_heard_is_well(room: Room) -> None:
    codes = room.fleet(4, "A", exchange="LHE-2", isp="PTCL", city="Lahore")
    room.fleet(5, "B", exchange="LHE-2", isp="PTCL", city="Lahore", opening="Sat 09:00-21:00")
    room.silent(codes)
    assert [scope for scope, *_ in room.living()] == ["center"] * 4


def test_who_has_no_gateway_yet_tells_nothing(room: Room) -> None:
    codes = room.fleet(3, "A", feeder="F-1")
    for number in range(6):
        room.center(f"NEW-{number}", feeder="F-1")
    room.silent(codes)
    assert room.living() == [("feeder", "F-1", "dark", 3)]


def test_who_opens_an_hour_later_fails_with_those_that_were_open(room: Room) -> None:
    """A provider is out from 11:40 on; two of its four centers open at 13:00, an hour and a half after the others."""
    early = room.fleet(2, "A", isp="PTCL", city="Mingora")
    late = room.fleet(2, "B", isp="PTCL", city="Mingora", opening="daily 13:00-22:00")
    room.fleet(9, "C", isp="Nayatel", city="Mingora")
    room.heard(late, 20)
    room.dark |= set(late)
    room.silent(early, 20)
    room.passes(75)
    room.changes(late, "raised", "presence.silent")
    room.passes(1)
    assert [(scope, place, centers) for scope, place, _, centers in room.living()] == [("provider", "PTCL, Mingora", 4)]


def test_a_group_that_comes_and_goes_is_one_incident_and_unstable(room: Room) -> None:
    """A feeder goes dark and comes back again and again: told three times and that it is unstable, then that it is
    over."""
    codes = room.fleet(6, "A", feeder="F-1")
    room.fleet(6, "B", feeder="F-2")
    for _ in range(4):
        room.silent(codes, 5)
        room.passes(3)
        room.back(codes)
        room.passes(6)
    assert {one.id for one in room.incidents() if one.state != "merged"} == {1}
    assert room.acts(1, told=True) == ["opened", "resolved", "reopened", "resolved", "unstable"]
    for _ in range(6):
        room.passes(6)
    assert room.acts(1, told=True)[-1] == "resolved"
    assert "steady" in room.acts(1)


def test_a_group_that_fails_again_an_hour_later_is_another_incident(room: Room) -> None:
    codes = room.fleet(6, "A", feeder="F-1")
    room.silent(codes)
    room.passes(3)
    room.back(codes)
    room.passes(60)
    room.silent(codes)
    assert [act for _, act in room.told()] == ["opened", "resolved", "opened"]
