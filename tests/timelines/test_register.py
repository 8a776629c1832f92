"""Stories of the register: what changes today changes no month that is over, and splits the running one at the date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from collector.judging import reopening
from collector.register import calendar, dated, imports
from collector.reports import schedule
from collector.standard import Standards
from collector.store import Store, schema, upsert
from tests.collector.empty_stores import empty_store
from tests.collector.standard.timeless import timeless_standards

HEAD = "center,name,tier,seats_promised,isp,opening,owner"
FIRST = "LHR-1,Johar Town,two,20,ISP-A,daily 09:00-21:00,Rehman & Sons"
STANDARDS: Standards = timeless_standards()
DAY, MINUTE = 86_400_000, 60_000
AYESHA = imports.Origin(by="Ayesha")


def at(day: str, hour: int = 0) -> int:
    return dated.day_ms(day) + hour * 60 * MINUTE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A center of September, heard from 12 to 13 on two days of each month; September is reported."""
    with closing(empty_store(tmp_path / "nabz.db")) as made:
        begun(made)
        yield made


def begun(store: Store) -> None:
    with store.write() as conn:
        imports.do_import(conn, [HEAD, FIRST], at("2026-09-01"), None, AYESHA)
        upsert(
            conn, schema.devices,
            [{"device": "g", "center": "LHR-1", "public_key": b"", "enrolled_ms": at("2026-09-01")}],
        )  # fmt: skip
        days = ("2026-09-10", "2026-09-29", "2026-10-10", "2026-10-29")
        rows = [
            {"wall_ms": at(day, 12) + n * MINUTE, "center": "LHR-1", "device": "g", "spool": "s", "seq": i * 100 + n,
             "subject": "wan", "received_ms": at(day, 12), "loss_pct": 0.0, "rtt_median_ms": 20.0, "jitter_ms": 1.0}
            for i, day in enumerate(days) for n in range(60)
        ]  # fmt: skip
        conn.execute(sa.insert(schema.readings["link"]), rows)
    look(store, at("2026-10-28"))


def look(store: Store, now_ms: int) -> None:
    schedule.begin(store, STANDARDS, now_ms)
    while schedule.finish(store, STANDARDS, now_ms + reopening.SETTLE_MS):
        pass


def changed(store: Store, head: str, row: str, day: str, now: str, second: str = "") -> None:
    """What a person imports on `now` before anybody opens, from `day` on, and the command says of months reported."""
    with store.write() as conn:
        origin = imports.Origin(by="Ayesha", second=second)
        done = imports.do_import(conn, [f"center,{head}", f"LHR-1,{row}"], at(now, 8), at(day), origin)
        assert not done.mistakes
        assert not done.waits
        reopening.record_facts(conn, ["LHR-1"], at(day), at(now, 8))


def told(store: Store, month: str, now_ms: int = at("2026-11-20")) -> dict[str, Any]:
    with store.read() as conn:
        return schedule.told(conn, "LHR-1", month, STANDARDS, now_ms)


def parts(store: Store, month: str, name: str) -> list[tuple[str, object]]:
    return [(dated.day_of(part["from_ms"]), part[name]) for part in told(store, month)["facts"]]


@pytest.mark.parametrize(
    ("name", "value", "before"),
    [
        ("opening", "daily 10:00-16:00", "daily 09:00-21:00"),
        ("seats_promised", "40", 20),
        ("isp", "ISP-B", "ISP-A"),
        ("owner", "Malik Brothers", "Rehman & Sons"),
    ],
)
def test_a_change_on_the_28th_splits_the_month_there_and_leaves_the_one_before(
    store: Store, name: str, value: str, before: object
) -> None:
    september = told(store, "2026-09")
    changed(store, name, value, "2026-10-28", "2026-10-28")
    assert told(store, "2026-09") == september
    after = int(value) if value.isdigit() else value
    assert parts(store, "2026-10", name) == [("2026-10-01", before), ("2026-10-28", after)]
    october = told(store, "2026-10")["ledger"]
    assert october["open"] == (27 * 720 + 4 * 360 if name == "opening" else 31 * 720)
    look(store, at("2026-11-20"))
    with store.read() as conn:
        for month in ("2026-09", "2026-10"):
            assert schedule.check(conn, "LHR-1", month, STANDARDS, at("2026-11-20")) == []


def test_a_file_of_five_columns_moves_no_other_fact_of_any_month(store: Store) -> None:
    september, october = told(store, "2026-09"), told(store, "2026-10")
    changed(
        store, "name,tier,seats_promised,opening", "Johar Town,two,20,daily 09:00-21:00", "2026-10-28", "2026-10-28"
    )
    assert (told(store, "2026-09"), told(store, "2026-10")) == (september, october)


def test_what_two_persons_record_of_the_past_revises_it_and_stands_apart(store: Store) -> None:
    changed(store, "opening", "daily 10:00-16:00", "2026-09-16", "2026-11-12", second="Bilal")
    look(store, at("2026-11-20"))
    september = told(store, "2026-09")
    assert (september["ledger"]["open"], september["revision"]["number"]) == (15 * 720 + 15 * 360, 2)
    late = [(item["name"], item["value"], item["by"], item["second"]) for item in september["backdated"]]
    assert late == [("opening", "daily 10:00-16:00", "Ayesha", "Bilal")]


def test_taking_an_import_back_brings_the_month_back(store: Store) -> None:
    september = told(store, "2026-09")
    with store.write() as conn:
        lines = ["center,opening", "LHR-1,daily 10:00-16:00"]
        done = imports.do_import(
            conn, lines, at("2026-11-12"), at("2026-09-01"), imports.Origin(by="Ayesha", second="Bilal")
        )
        reopening.record_facts(conn, ["LHR-1"], at("2026-09-01"), at("2026-11-12"))
    look(store, at("2026-11-14"))
    assert told(store, "2026-09")["ledger"]["open"] == 30 * 360
    with store.write() as conn:
        undone = imports.undo(conn, done.number or 0, imports.Origin(by="Ayesha", second="Bilal"), at("2026-11-15"))
        for code, from_ms in dated.touched(undone.facts).items():
            reopening.record_facts(conn, [code], from_ms, at("2026-11-15"))
    look(store, at("2026-11-20"))
    back = told(store, "2026-09")
    assert (back["ledger"], back["center"], back["revision"]["number"]) == (september["ledger"], september["center"], 3)


# ---------------------------------------------------------------- the calendar


def entered(store: Store, now: str, second: str = "", **facts: Any) -> calendar.CalendarEntry:
    """An entry of the calendar that a person records at noon of a day, and what the command says of reported months."""
    now_ms = at(now, 12)
    entry = calendar.CalendarEntry(recorded_ms=now_ms, recorded_by="Ayesha", reason="x", **facts)
    with store.write() as conn:
        made = calendar.add(conn, [entry], second)[0]
        if made.state == "holds":
            reopening.record_calendar(conn, ["LHR-1"], made.from_ms, made.to_ms, now_ms)
    return made


def test_ramadan_hours_hold_from_to_and_leave_the_days_around(store: Store) -> None:
    hours = "Mon-Thu 08:00-15:00; Fri-Sun 08:00-12:00"
    span = {"from_ms": at("2026-10-08"), "to_ms": at("2026-10-22")}
    entered(store, "2026-10-01", kind="hours", scope="all", hours=hours, name="Ramadan", **span)
    assert told(store, "2026-10")["ledger"]["open"] == 17 * 720 + 8 * 360 + 6 * 180


def test_eid_that_moves_after_the_report_revises_the_month(store: Store) -> None:
    eid = {"kind": "holiday", "scope": "all", "name": "Eid", "is_estimated": True}
    made = entered(store, "2026-09-01", from_ms=at("2026-09-29"), to_ms=at("2026-10-01"), **eid)
    assert told(store, "2026-09")["ledger"]["open"] == 30 * 720  # an estimate changes nothing
    with store.write() as conn:
        moved = calendar.confirm(conn, [made], "Bilal", at("2026-11-10"), at("2026-09-30"))[0]
        reopening.record_calendar(conn, ["LHR-1"], moved.from_ms, moved.to_ms, at("2026-11-10"))
    look(store, at("2026-11-20"))
    september, october = told(store, "2026-09"), told(store, "2026-10")
    assert (september["ledger"]["open"], september["revision"]["why"]) == (29 * 720, {"calendar": 1})
    assert october["ledger"]["open"] == 30 * 720  # its second day
