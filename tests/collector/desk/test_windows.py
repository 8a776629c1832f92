"""Maintenance windows: once and by rule, on every kind of place, and what each mode makes of a flag."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collector.desk import follow, tables, windows, work
from collector.desk.symptoms import CenterPlace
from collector.desk.windows import MaintenanceWindow, WindowError, checked
from tests.collector.desk.conftest import MINUTE, NOON, STANDARDS, Room

HOUR, DAY = 3_600_000, 86_400_000
WINDOW = MaintenanceWindow("feeder", "F-7", "mute", NOON, NOON + HOUR, reason="work")
PLACE = CenterPlace("LHR-1", "f-7 ", "LHR-GBG", isp="PTCL", district="Lahore", province="Punjab")


def test_once() -> None:
    assert WINDOW.until_ms(NOON - 1) is None
    assert WINDOW.until_ms(NOON) == WINDOW.until_ms(NOON + HOUR - 1) == NOON + HOUR
    assert WINDOW.until_ms(NOON + HOUR) is None


def test_again_by_a_rule() -> None:
    weekly = replace(WINDOW, rule="FREQ=WEEKLY;BYDAY=MO,TH")
    at = [NOON + day * DAY + HOUR // 2 for day in range(8)]
    assert [weekly.until_ms(at_ms) is not None for at_ms in at] == [day in (0, 3, 7) for day in range(8)]
    assert weekly.until_ms(at[3]) == NOON + 3 * DAY + HOUR
    assert weekly.until_ms(at[3] + HOUR) is None
    until = replace(WINDOW, rule="FREQ=DAILY;UNTIL=20260203T235959")
    assert [until.until_ms(at_ms) is not None for at_ms in at[:4]] == [True, True, False, False]


@pytest.mark.parametrize(
    ("until", "days"),
    [
        ("20260203T070000Z", 2),  # noon in Karachi, as the second begins
        ("20260203t070000z", 2),
        ("20260203T065959Z", 1),
        ("20260202T210000Z", 1),  # the third of February at two in the morning in Karachi
        ("20260204T235959", 3),
    ],
)
def test_a_rule_may_end_by_utc_as_the_rfc_wants_it(until: str, days: int) -> None:
    assert runs_on(f"FREQ=DAILY;UNTIL={until}", 6) == list(range(days))


def runs_on(rule: str, days: int) -> list[int]:
    """The days after the first on which a window by this rule runs, at half past twelve."""
    made = checked(replace(WINDOW, rule=rule))
    return [day for day in range(days) if made.until_ms(NOON + day * DAY + HOUR // 2) is not None]


def test_so_many_times_and_by_weeks_and_days_of_the_year() -> None:
    assert runs_on("FREQ=WEEKLY;BYDAY=MO,TH;COUNT=3", 20) == [0, 3, 7]
    assert runs_on("FREQ=YEARLY;BYWEEKNO=7;BYDAY=WE", 400) == [9, 380]  # 2026-02-11, 2027-02-17
    assert runs_on("FREQ=YEARLY;BYYEARDAY=60,-1", 400) == [27, 332, 392]  # 1 March, 31 December
    assert runs_on("FREQ=DAILY;COUNT=2", 9) == [0, 1]


@pytest.mark.parametrize(
    ("scope", "subject", "covers"),
    [
        ("center", "LHR-1", True), ("center", "LHR-2", False), ("feeder", "F-7", True), ("provider", "ptcl", True),
        ("provider", "Nayatel", False), ("district", "Lahore", True), ("exchange", "LHR-GBG", True),
        ("exchange", "LHR-MDT", False), ("province", "punjab", True),
    ],
)  # fmt: skip
def test_what_it_covers(scope: str, subject: str, covers: bool) -> None:
    assert replace(WINDOW, scope=scope, subject=subject).covers(PLACE) is covers  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"subject": " "}, "needs the name"),
        ({"to_ms": NOON}, "must lie after"),
        ({"to_ms": NOON + 32 * DAY}, "at most 31 days"),
        ({"reason": ""}, "needs a reason"),
        ({"rule": "FREQ=SECONDLY"}, "RFC 5545"),
        ({"rule": "FREQ=DAILY;BYSECOND=1,2,3"}, "RFC 5545"),
        ({"rule": "every Sunday"}, "RFC 5545"),
        ({"rule": "FREQ=WEEKLY;BYDAY=XX"}, "RFC 5545"),
        ({"rule": "FREQ=DAILY;" + "X" * 300}, "RFC 5545"),
        ({"rule": "FREQ=DAILY;INTERVAL=0"}, "RFC 5545"),
        ({"rule": "FREQ=YEARLY;BYEASTER=400"}, "RFC 5545"),
        ({"rule": "FREQ=DAILY;INTERVAL=7;BYDAY=TU"}, "never comes"),
        ({"rule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}, "never comes"),
        ({"rule": "FREQ=DAILY;BYMINUTE=5"}, "BYMINUTE is not taken; .* made of FREQ, INTERVAL, COUNT"),
        ({"rule": "FREQ=MONTHLY;BYWEEKNO=20"}, "BYWEEKNO is of FREQ=YEARLY .* not of MONTHLY"),
        ({"rule": "FREQ=DAILY;BYYEARDAY=1"}, "BYYEARDAY is of FREQ=YEARLY"),
        ({"rule": "FREQ=DAILY;COUNT=3;UNTIL=20260301T000000"}, "RFC 5545"),
        ({"rule": "FREQ=DAILY;UNTIL=20260230T000000Z"}, "RFC 5545"),
        ({"rule": "FREQ=DAILY;UNTIL=20260202T065959Z"}, "never comes"),
        ({"rule": "FREQ=DAILY;COUNT=0"}, "RFC 5545"),
        ({"rule": "FREQ=DAILY;COUNT=99999"}, "RFC 5545"),
        ({"rule": "FREQ=DAILY;COUNT=3;BYMONTH=2;BYMONTHDAY=30"}, "never comes"),
        ({"rule": "RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY"}, "RFC 5545"),
    ],
)
def test_what_cannot_be_is_a_sentence(change: dict[str, object], problem: str) -> None:
    with pytest.raises(WindowError, match=problem):
        checked(replace(WINDOW, **change))  # type: ignore[arg-type]


def keep(room: Room, mode: str, scope: str = "center", subject: str = "LHR-1", from_ms: int = NOON) -> None:
    made = MaintenanceWindow(scope, subject, mode, from_ms, NOON + HOUR, reason="work")  # type: ignore[arg-type]
    with room.store.write() as conn:
        windows.add(conn, made, "Ayesha", NOON)


def test_skip_makes_no_incident_until_it_ends(room: Room) -> None:
    room.center("LHR-1")
    keep(room, "skip")
    room.change("LHR-1")
    room.change("LHR-1", criterion="internet.rtt")
    room.now_ms += 10 * MINUTE
    room.change("LHR-1", "clear", criterion="internet.rtt")
    assert room.incidents() == []
    room.now_ms = NOON + HOUR
    with room.store.write() as conn:
        follow.follow(conn, STANDARDS, room.now_ms)
    (one,) = room.incidents()
    assert (one.place, one.began_ms) == ("LHR-1", NOON)
    with room.store.read() as conn:
        assert [one.criterion for one in tables.members(conn, [one.id])] == ["internet.loss"]


def test_mute_snoozes_and_run_changes_nothing(room: Room) -> None:
    for code in ("LHR-1", "LHR-2"):
        room.center(code)
    keep(room, "mute")
    keep(room, "run", subject="LHR-2")
    room.change("LHR-1")
    room.change("LHR-2")
    muted, run = room.incidents()
    assert muted.snoozed_until_ms == NOON + HOUR
    assert run.snoozed_until_ms is None


def test_what_is_planned_for_a_part_mutes_no_incident_of_more(room: Room) -> None:
    """Two feeders of one grid station fail while work is planned on one of them."""
    planned = room.fleet(6, "A", feeder="F-1", district="Lahore")
    others = room.fleet(6, "B", feeder="F-2", district="Lahore")
    keep(room, "mute", "feeder", "F-1")
    room.silent(planned)
    room.passes(2)
    room.silent(others, 14)
    room.passes(2)
    assert sorted(room.living()) == [("feeder", "F-1", "dark", 6), ("feeder", "F-2", "dark", 6)]
    assert room.told() == [(2, "opened")]


@pytest.mark.parametrize("mode", ["mute", "skip"])
def test_planned_work_is_no_company_of_what_fails_beside_it(room: Room, mode: str) -> None:
    planned = room.fleet(8, "A", feeder="F-1", district="Lahore")
    room.fleet(2, "B", feeder="F-2", district="Lahore")
    keep(room, mode, "feeder", "F-1")
    room.silent(planned)
    room.passes(1)
    room.silent(["B-0"])
    room.passes(2)
    assert [one for one in room.living() if one[1] != "F-1"] == [("center", "B-0", "dark", 1)]


def test_what_is_planned_for_all_of_a_wide_incident_mutes_it(room: Room) -> None:
    codes = room.fleet(6, "A", feeder="F-1") + room.fleet(6, "B", feeder="F-2")
    for feeder in ("F-1", "F-2"):
        keep(room, "mute", "feeder", feeder)
    room.silent(codes)
    room.passes(5)
    assert room.told() == []


def test_a_muted_incident_that_others_join_is_told(room: Room) -> None:
    codes = room.fleet(9, "A", feeder="F-1")
    for code in codes[:6]:
        keep(room, "mute", "center", code)
    room.silent(codes[:6])
    room.passes(1)
    assert (room.living(), room.told()) == ([("feeder", "F-1", "dark", 6)], [])
    room.silent(codes[6:])
    room.passes(1)
    assert room.told() == [(1, "snooze_ended")]


def test_one_that_begins_while_an_incident_is_open_mutes_it_until_its_end(room: Room) -> None:
    room.center("LHR-1")
    keep(room, "mute", from_ms=NOON + 10 * MINUTE)
    room.change("LHR-1")
    room.passes(2)
    (before,) = room.incidents()
    assert (before.snoozed_until_ms, room.told()) == (None, [(1, "opened")])
    room.now_ms = NOON + 10 * MINUTE
    room.passes(2)
    (muted,) = room.incidents()
    assert (muted.snoozed_until_ms, room.told()) == (NOON + HOUR, [(1, "opened")])
    room.now_ms = NOON + HOUR
    room.passes(2)
    assert room.told() == [(1, "opened"), (1, "snooze_ended")]


def test_a_person_who_wants_to_be_told_within_it_is(room: Room) -> None:
    room.center("LHR-1")
    keep(room, "mute")
    room.change("LHR-1")
    with room.store.write() as conn:
        work.snooze(conn, 1, room.now_ms + 10 * MINUTE, "Ayesha", "I look again", room.now_ms)
    room.now_ms += 10 * MINUTE
    room.passes(5)
    assert room.told() == [(1, "snooze_ended")]


def test_a_window_on_nobody_is_refused(room: Room) -> None:
    """A slip of the pen would mute nothing, and nobody would know before the night of the work."""
    with room.store.write() as conn, pytest.raises(WindowError, match="no center of the register is on"):
        windows.add(conn, replace(WINDOW, scope="exchange", subject="LHR-GBG"), "Ayesha", NOON)
    room.center("LHR-1", exchange="LHR-GBG")
    keep(room, "mute", "exchange", "lhr-gbg")
    room.change("LHR-1")
    assert room.incidents()[0].snoozed_until_ms == NOON + HOUR


def test_one_that_was_ended_holds_no_more(room: Room) -> None:
    room.center("LHR-1")
    keep(room, "mute")
    with room.store.write() as conn:
        windows.end(conn, 1, "Ayesha", NOON)
        with pytest.raises(WindowError, match="has ended"):
            windows.end(conn, 1, "Ayesha", NOON)
    room.change("LHR-1")
    assert room.incidents()[0].snoozed_until_ms is None
