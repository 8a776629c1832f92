"""The calendar: what it makes of a center's days, who must confirm what, and what Pakistan's year is."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.common.center_time import TZ
from collector.__main__ import main
from collector.judging import silence
from collector.register import calendar, dated
from collector.register.calendar import Calendar, CalendarEntry, CalendarError
from collector.register.center import Center
from collector.register.facts import FactError
from collector.register.opening_hours import MINUTE_MS, DayRule, is_open, open_minutes, parse, spans_between
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless_standards

DAY = 86_400_000
CENTER = Center(
    code="LHR-1", name="Johar Town", tier="two", seats_promised=20, opening="Mon-Sat 09:00-21:00", lifecycle="declared",
    isp="ISP-A", feeder="F-7", district="Lahore", province="Punjab",
)  # fmt: skip


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TZ)).timestamp() * 1000)


NOW = at("2026-02-01T10:00")
TODAY = dated.today_ms(NOW)


def entry(kind: str, first: str, last: str | None, **more: object) -> CalendarEntry:
    to_ms = None if last is None else at(last) + DAY
    usual = {"scope": "all", "recorded_ms": NOW, "recorded_by": "Ayesha", "reason": "x"}
    return CalendarEntry(kind=kind, from_ms=at(first), to_ms=to_ms, **(usual | more))  # type: ignore[arg-type]


def minutes(entries: list[CalendarEntry], day: str, center: Center = CENTER) -> int:
    hours = parse(center.opening, TZ, Calendar(tuple(entries)).rules(center))
    return open_minutes(hours, at(day), at(day) + DAY)


EID = entry("holiday", "2026-03-20", "2026-03-22", name="Eid al-Fitr")
RAMADAN = entry("hours", "2026-02-18", "2026-03-19", hours="Mon-Thu 08:00-15:00; Fri 08:00-12:00; Sat 08:00-15:00")
FRIDAYS = entry("hours", "2026-01-01", None, hours="Fri 00:00-13:00,14:30-24:00")


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-02-17", 720),  # a Tuesday
        ("2026-02-18", 360),  # Ramadan: the part of its own hours that lies within
        ("2026-02-20", 180),  # a Friday of Ramadan
        ("2026-02-22", 0),  # a Sunday stays closed
        ("2026-03-20", 0),
        ("2026-03-23", 720),
        ("2026-03-27", 630),  # a Friday with its prayer
    ],
)
def test_holidays_ramadan_and_fridays_make_a_day(day: str, expected: int) -> None:
    assert minutes([EID, RAMADAN, FRIDAYS], day) == expected


@pytest.mark.parametrize("scope", ["province", "district", "provider", "feeder", "center"])
def test_an_entry_is_of_its_scope_alone(scope: str) -> None:
    names = {"province": "punjab", "district": " LAHORE", "provider": "isp-a", "feeder": "f-7", "center": "LHR-1"}
    mine = replace(EID, scope=scope, subject=names[scope])  # type: ignore[arg-type]
    assert minutes([mine], "2026-03-20") == 0
    assert minutes([replace(mine, subject="other")], "2026-03-20") == 720


def test_hours_of_one_center_hold_on_a_holiday_and_in_place_of_its_own() -> None:
    own = entry("hours", "2026-03-20", "2026-03-21", scope="center", subject="LHR-1", hours="Fri 10:00-23:00")
    assert minutes([EID, own], "2026-03-20") == 780
    assert minutes([EID, own], "2026-03-21") == 0  # a Saturday: its hours say nothing of it


def test_what_waits_or_was_withdrawn_changes_nothing() -> None:
    assert minutes([replace(EID, is_estimated=True)], "2026-03-20") == 720
    assert minutes([replace(EID, is_estimated=True, confirmed_ms=1)], "2026-03-20") == 0
    assert minutes([replace(EID, withdrawn_ms=1)], "2026-03-20") == 720


day_rules = st.builds(
    DayRule,
    first=st.integers(739_600, 739_620),
    last=st.integers(739_605, 739_630),
    hours=st.sampled_from(
        ["", "daily 08:00-15:00", "Fri closed", "Mon-Thu 10:00-12:00,13:00-22:00", "Sat 22:00-02:00"]
    ),
    own=st.booleans(),
)


@settings(max_examples=40)
@given(
    st.sampled_from(["Mon-Sat 09:00-21:00", "always", "daily 22:00-06:00", "Fri closed"]),
    st.lists(day_rules, max_size=4),
    st.integers(0, 20),
)
def test_minutes_counted_one_by_one_are_those_of_the_spans(text: str, rules: list[DayRule], day: int) -> None:
    hours = parse(text, TZ, tuple(rules))
    start = calendar.begins_ms(date.fromordinal(739_600 + day))
    one_by_one = sum(is_open(hours, start + n * MINUTE_MS) for n in range(1440))
    assert open_minutes(hours, start, start + DAY) == one_by_one
    spans = list(spans_between(hours, start, start + DAY))
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    closed = any(rule.first <= 739_600 + day <= rule.last and not rule.hours for rule in rules)
    assert not (closed and one_by_one and not any(rule.own and rule.hours for rule in rules))


def test_pakistans_year_is_known_and_what_follows_the_moon_waits() -> None:
    found = {one.name: one for one in calendar.public_holidays(2027, "Ayesha", NOW)}
    fixed = {name for name, one in found.items() if one.state == "holds"}
    assert {"Pakistan Day", "Labor Day", "Independence Day", "Quaid-e-Azam Day", "Iqbal Day"} <= fixed
    moon = {name for name, one in found.items() if one.state == "waiting"}
    assert {"Eid al-Fitr", "Eid al-Adha", "Ashura", "Prophet's Birthday"} <= moon
    eid = found["Eid al-Fitr"]
    assert ((eid.to_ms or 0) - eid.from_ms, dated.day_of(eid.from_ms)) == (3 * DAY, "2027-03-10")
    assert all(one.name_ur and "(" not in one.name_ur for one in found.values())


# ---------------------------------------------------------------- recording


def test_eid_that_moves_is_confirmed_on_the_day_it_came(either_store: Store) -> None:
    with either_store.write() as conn:
        eid = next(one for one in calendar.public_holidays(2027, "Ayesha", NOW) if one.name == "Eid al-Fitr")
        made = calendar.add(conn, [eid])
        span = at("2027-03-01"), at("2027-04-01")
        assert calendar.between(conn, *span).entries == ()
        with pytest.raises(FactError, match="needs a person by name"):
            calendar.confirm(conn, made, "", NOW)
        calendar.confirm(conn, made, "Ayesha", NOW, at("2027-03-11"))
        days = calendar.between(conn, *span)
        with pytest.raises(CalendarError, match="nothing of this waits"):
            calendar.confirm(conn, calendar.by_ids(conn, [made[0].id]), "Bilal", NOW)
    assert [minutes(list(days.entries), day) for day in ("2027-03-10", "2027-03-11", "2027-03-13")] == [720, 0, 0]


@pytest.mark.parametrize(
    ("made", "waits"),
    [
        (entry("holiday", "2026-03-20", "2026-03-20"), False),
        (entry("holiday", "2026-01-20", "2026-01-20"), True),  # of a day that is over
        (entry("holiday", "2026-02-01", "2026-02-01"), True),  # of hours that are over
        (entry("hours", "2026-02-01", None, hours="daily 12:00-21:00"), True),
        (entry("hours", "2026-02-02", None, hours="daily 12:00-21:00"), False),
        (entry("maintenance", "2026-03-20", "2026-03-20", scope="feeder", subject="F-7"), True),
        (entry("closure", "2026-03-20", "2026-03-20", scope="center", subject="LHR-1"), True),
        (entry("shedding", "2026-01-01", None, scope="feeder", subject="F-7", hours="daily 10:00-12:00"), False),
    ],
)
def test_what_excuses_and_what_is_over_needs_a_second_person(
    either_store: Store, made: CalendarEntry, waits: bool
) -> None:
    with either_store.write() as conn:
        held = calendar.add(conn, [made])
        assert held[0].state == ("waiting" if waits else "holds")
        if waits:
            with pytest.raises(FactError, match="another person must confirm"):
                calendar.confirm(conn, held, "ayesha", NOW)
            assert calendar.confirm(conn, held, "Bilal", NOW)[0].state == "holds"
        later = at("2026-06-01")
        with pytest.raises(FactError, match=r"another person|two persons"):
            calendar.withdraw(conn, held[:1] if not waits else calendar.by_ids(conn, [held[0].id]), "A", "x", later)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (entry("hours", "2026-03-20", None), "needs hours"),
        (entry("holiday", "2026-03-20", None), "needs an end"),
        (entry("holiday", "2026-03-20", "2026-03-18"), "ends before it begins"),
        (entry("shedding", "2026-03-20", None, hours="daily 10:00-12:00"), "is of a feeder"),
        (entry("hours", "2026-03-20", None, hours="Fri 9-12"), "are not hours"),
        (entry("holiday", "2026-03-20", "2026-03-20", scope="center"), "center needs a name"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(wrong: CalendarEntry, sentence: str) -> None:
    with pytest.raises(CalendarError, match=sentence):
        calendar.check(wrong)


def test_of_a_feeders_schedules_the_one_that_begins_last_holds() -> None:
    old = entry("shedding", "2026-01-01", None, scope="feeder", subject="F-7", hours="daily 10:00-12:00")
    new = replace(old, from_ms=at("2026-02-01"), hours="daily 18:00-20:00", id=2)
    days = Calendar((old, new))
    assert [one and one.hours for one in (days.shedding("f-7 ", at(day)) for day in ("2026-01-31", "2026-02-01"))] == [
        "daily 10:00-12:00", "daily 18:00-20:00",
    ]  # fmt: skip
    assert days.shedding("F-8", NOW) is None


# ---------------------------------------------------------------- what lives by it


def test_nobody_is_called_silent_on_a_holiday(sqlite_store: Store) -> None:
    """Three centers stop at the evening before Eid; without the calendar the sweep of the next noon flags them."""
    standards = timeless_standards()
    noon = at("2026-03-20T12:00")
    heard = at("2026-03-19T20:59")
    codes = [f"LHR-{n}" for n in range(3)]
    with sqlite_store.write() as conn:
        upsert(conn, schema.centers, [replace(CENTER, code=code).row() for code in codes])
        rows = [{"center": code, "device": code, "heard_ms": heard, "due_ms": noon} for code in codes]
        upsert(conn, schema.pulse, rows)
        with conn.begin_nested() as tried:
            silence.sweep(conn, standards, noon)
            flagged = len(conn.execute(sa.select(schema.flags.c.center).where(schema.flags.c.state != "clear")).all())
            tried.rollback()
        calendar.add(conn, [EID])
        silence.sweep(conn, standards, noon)
        held = conn.execute(sa.select(schema.flags.c.center).where(schema.flags.c.state != "clear")).all()
        due = set(conn.scalars(sa.select(schema.pulse.c.due_ms)))
    assert (flagged > 0, held, due) == (True, [], {at("2026-03-23T09:00") + 1})


def test_the_commands_add_list_confirm_and_withdraw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path / "db")]

    def answer(*words: str) -> list[dict[str, object]]:
        capsys.readouterr()
        assert main(["calendar", *words, "--json", *data]) == 0, capsys.readouterr().err
        found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
        return found

    made = answer("holidays", "2099", "--by", "Ayesha")
    assert {one["state"] for one in made} == {"holds", "waiting"}
    assert answer("holidays", "2099") == []
    hours = answer(
        "add", "hours", "--province", "Punjab", "--from", "2099-02-01", "--to", "2099-03-01", "--hours",
        "Fri 09:00-12:00", "--reason", "order 7", "--by", "Ayesha",
    )  # fmt: skip
    assert (hours[0]["state"], hours[0]["to_ms"]) == ("holds", dated.day_ms("2099-03-02"))
    closure = answer(
        "add", "closure", "--center", "LHR-1", "--from", "2099-02-01T14:00", "--to", "2099-02-01T16:00", "--reason",
        "transformer", "--by", "Ayesha",
    )  # fmt: skip
    assert closure[0]["state"] == "waiting"
    assert answer("confirm", str(closure[0]["id"]), "--by", "Bilal")[0]["state"] == "holds"
    assert answer("withdraw", str(hours[0]["id"]), "--reason", "cancelled", "--by", "Ayesha")[0]["state"] == "withdrawn"
    (tmp_path / "s.csv").write_text('Feeder,Hours\nF-7,"daily 10:00-11:00,14:00-15:00"\n')
    assert answer("shedding", str(tmp_path / "s.csv"), "--reason", "LESCO")[0]["age_d"] == 0
    assert [one["subject"] for one in answer("list", "--kind", "shedding")] == ["F-7"]
    (tmp_path / "s.csv").write_text("feeder,hours\nF-7,soon\n")
    assert main(["calendar", "shedding", str(tmp_path / "s.csv"), *data]) == 1
    assert main(["calendar", "add", "holiday", "--all", "--from", "x", "--reason", "x", *data]) == 2
