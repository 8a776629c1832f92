"""The desk's clock: who took an incident first and when, when it was over, by officer and by district."""

from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from collector.common.scope import Scope
from collector.desk import work
from collector.desk.view import desk_clock
from collector.desk.view.desk_clock import IncidentTimes, WaitingTimes
from tests.collector.desk.conftest import MINUTE, NOON, STANDARDS, Room


def one(taken_s: int | None, by: str = "", resolved_s: int | None = None, *districts: str) -> IncidentTimes:
    taken, resolved = (None if s is None else NOON + s * 1000 for s in (taken_s, resolved_s))
    return IncidentTimes(
        opened_ms=NOON, taken_ms=taken, taken_by=by, resolved_ms=resolved, districts=frozenset(districts)
    )


def test_an_incident_of_two_districts_is_each_ones_and_once_in_all() -> None:
    some = [one(60, "Ali", 600, "Lahore", "Kasur"), one(None, "", 900, "Lahore"), one(120, "Ali", None)]
    kasur = desk_clock.total("Kasur", [some[0]])
    assert desk_clock.summed(some, "district") == [
        desk_clock.total("", [some[2]]), kasur, desk_clock.total("Lahore", some[:2]),
    ]  # fmt: skip
    assert desk_clock.summed(some, "officer") == [
        WaitingTimes(group="", incidents=1, taken=0, take_median_s=None, take_p90_s=None, resolved=1,
                     resolve_median_s=900, resolve_p90_s=900),
        WaitingTimes(group="Ali", incidents=2, taken=2, take_median_s=60, take_p90_s=120, resolved=1,
                     resolve_median_s=600, resolve_p90_s=600),
    ]  # fmt: skip
    assert desk_clock.total("", some).incidents == 3
    assert desk_clock.summed([], "officer") == []


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
def test_nine_in_ten_stay_within_the_figure_and_no_lesser_one_would_do(seconds: list[int]) -> None:
    figures = desk_clock.total("", [one(value, "Ali") for value in seconds])
    p90 = figures.take_p90_s
    assert p90 is not None
    assert 10 * sum(value <= p90 for value in seconds) >= 9 * len(seconds)
    assert 10 * sum(value < p90 for value in seconds) < 9 * len(seconds)
    assert figures.take_median_s == statistics.median_low(seconds)


def test_who_acts_first_has_taken_it_and_a_note_is_no_act(room: Room) -> None:
    for code, district in (("LHR-1", "Lahore"), ("KHI-1", "Karachi South"), ("LHR-2", "Lahore")):
        room.center(code, district=district)
        room.change(code)
    first, second, third = room.incidents()
    with room.store.write() as conn:
        work.note(conn, first.id, "Bina", "seen", NOON + MINUTE)
        work.acknowledge(conn, first.id, "Ali", "called", NOON + 5 * MINUTE)
        work.start(conn, first.id, "Bina", "", NOON + 6 * MINUTE)
        work.assign(conn, second.id, "Bina", "Bina", "", NOON + 2 * MINUTE)
        work.merge(conn, third.id, first.id, STANDARDS, "Ali", "the same mast", NOON + 7 * MINUTE)
    room.now_ms = NOON + 30 * MINUTE
    room.change("KHI-1", "clear")
    with room.store.read() as conn:
        times = desk_clock.times(conn, NOON - MINUTE, NOON + MINUTE)
        lahore = desk_clock.times(conn, NOON - MINUTE, NOON + MINUTE, Scope(district=frozenset({"Lahore"})))
        assert desk_clock.times(conn, NOON + MINUTE, NOON + 90 * MINUTE) == []
    assert [(item.taken_by, (item.taken_ms or 0) - NOON, sorted(item.districts)) for item in times] == [
        ("Ali", 5 * MINUTE, ["Lahore"]), ("Bina", 2 * MINUTE, ["Karachi South"]),
    ]  # fmt: skip
    assert [item.resolved_ms for item in times] == [None, NOON + 30 * MINUTE]
    assert lahore == times[:1]


def test_what_is_over_by_itself_is_taken_by_nobody(room: Room) -> None:
    room.center("LHR-1")
    room.change("LHR-1")
    room.now_ms = NOON + 10 * MINUTE
    room.change("LHR-1", "clear")
    with room.store.read() as conn:
        (item,) = desk_clock.times(conn, NOON - MINUTE, NOON + MINUTE)
    assert (item.taken_ms, item.taken_by, item.resolved_ms) == (None, "", NOON + 10 * MINUTE)
