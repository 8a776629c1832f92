"""Months as they were reported: kept whole, revised when something comes late, the same to the bit ever after."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from agent import wire
from agent.common.center_time import TZ
from collector.__main__ import main
from collector.access.enrolment import device_name
from collector.common import months
from collector.judging import reopening
from collector.judging.evaluate import FreshReading
from collector.register import imports
from collector.register.centers import Center
from collector.reports import revisions, schedule
from collector.reports.monthly import ReportError
from collector.reports.render import FORMS
from collector.reports.schedule import told
from collector.standard import Standards, examples
from collector.store import Store, schema, upsert
from collector.store.jobs.shards import WHOLE
from collector.store.months import Retention, forget
from tests.collector.standard.timeless import timeless

MINUTE, DAY = 60_000, 86_400_000
STANDARDS = Standards.of(
    [replace(timeless(), criteria=tuple(replace(rule, evidence="signed") for rule in timeless().criteria))]
)
CENTER = Center(
    code="LHR-001", name="Gulberg", tier="three", seats_promised=10, lifecycle="declared", opening="Mon-Sat 09:00-21:00"
)
JANUARY = 1_767_207_600_000  # 2026-01-01 00:00 in Pakistan
FEBRUARY, MARCH = months.month_after(JANUARY), months.month_after(months.month_after(JANUARY))
DUE = MARCH + reopening.CLOSE_MS


@pytest.fixture
def store(either_store: Store) -> Store:
    device = {"device": "g0", "center": CENTER.code, "public_key": b"", "enrolled_ms": FEBRUARY}
    with either_store.write() as conn:
        upsert(conn, schema.centers, [CENTER.row()])
        upsert(conn, schema.devices, [device])
    return either_store


def put(store: Store, times: list[int], now_ms: int, seq: int = 1, notes: bool = True, **values: Any) -> None:
    """Link readings as ingest files them, noted or not."""
    rows = [
        {"wall_ms": at, "center": CENTER.code, "device": "g0", "spool": "s", "seq": seq + i, "subject": "wan",
         "received_ms": now_ms, "loss_pct": 0.0, "rtt_median_ms": 20.0, "jitter_ms": 1.0, **values}
        for i, at in enumerate(times)
    ]  # fmt: skip
    fresh = [FreshReading("link", wire.LinkReading(subject="wan"), at, now_ms, f"g0 s {seq}") for at in times]
    with store.write() as conn:
        conn.execute(sa.insert(schema.readings["link"]), rows)
        if notes:
            reopening.record_group(conn, [(CENTER, fresh)], now_ms)


def day(month_ms: int, number: int, count: int = 300) -> list[int]:
    return [month_ms + (number - 1) * DAY + 9 * 60 * MINUTE + i * MINUTE for i in range(count)]


def at_month(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=ZoneInfo(TZ)).timestamp() * 1000)


def look(store: Store, now_ms: int) -> int:
    """What housekeeping does, once what is due has settled."""
    schedule.begin(store, STANDARDS, now_ms)
    return schedule.finish(store, STANDARDS, now_ms + reopening.SETTLE_MS)


def report(store: Store, now_ms: int = DUE + DAY, month: str = "2026-02") -> Any:
    with store.read() as conn:
        return told(conn, CENTER.code, month, STANDARDS, now_ms)


def row(found: Any, criterion: str) -> Any:
    return next(item for item in found["criteria"] if item["criterion"] == criterion)


# ---------------------------------------------------------------- the first report


def test_a_month_is_reported_some_days_after_its_end_and_not_before(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    assert look(store, DUE - 1) == 0
    assert report(store, DUE - 1)["revision"]["number"] == 0
    assert look(store, DUE) == 1
    found = report(store)["revision"]
    assert (found["number"], found["closed_ms"], found["why"]) == (1, DUE + reopening.SETTLE_MS, {})
    assert look(store, DUE + 1) == 0


def test_a_kept_report_is_the_one_that_was_made(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    before = report(store)
    look(store, DUE)
    after = report(store)
    assert {**before, "revision": 0} == {**after, "revision": 0}
    assert after["revision"]["sha256"] == schedule.sha256_of(before)


def test_what_a_center_promises_later_is_no_matter_for_a_month_that_was_reported(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    look(store, DUE)
    with store.write() as conn:
        conn.execute(sa.update(schema.centers).values(tier="one", opening="always", seats_promised=99))
    put(store, day(FEBRUARY, 3), DUE + DAY, seq=5000)
    assert look(store, DUE + DAY) == 1
    found = report(store)
    assert (found["center"]["seats_promised"], found["ledger"]["open"]) == (10, 24 * 720)
    assert found["revision"]["number"] == 2


def test_a_month_reported_by_the_first_version_stays_the_same_to_the_bit_when_the_next_is_shipped(store: Store) -> None:
    """A reading of October: the folder was kept by a program that shipped the first version alone."""
    first, october = examples()[0], at_month(2026, 10)
    lossy = [{"loss_pct": 30.0}, {"loss_pct": 0.0}]
    for number, values in enumerate(lossy):
        put(store, day(october, 2 + number), october, seq=1 + 1000 * number, **values)
    due = months.month_after(october) + reopening.CLOSE_MS
    with store.write() as conn:
        conn.execute(sa.update(schema.devices).values(enrolled_ms=october))
    schedule.begin(store, Standards.of([first]), due)
    schedule.finish(store, Standards.of([first]), due + reopening.SETTLE_MS)
    shipped = Standards.of(examples())
    with store.read() as conn:
        kept = told(conn, CENTER.code, "2026-10", shipped, due + DAY)
        assert schedule.check(conn, CENTER.code, "2026-10", shipped, due + DAY) == []
    assert kept["standard"] == {
        "id": first.id, "official": False, "note": first.note, "sha256": first.digest
    }  # fmt: skip
    late = months.month_after(due) + DAY  # a reading that comes after the second version began
    put(store, day(october, 4), late, seq=9000)
    schedule.begin(store, shipped, late)
    schedule.finish(store, shipped, late + reopening.SETTLE_MS)
    with store.read() as conn:
        revised = told(conn, CENTER.code, "2026-10", shipped, late + DAY)
    assert (revised["revision"]["number"], revised["standard"]["sha256"]) == (2, first.digest)


def test_months_before_anybody_enrolled_are_not_reported(store: Store) -> None:
    look(store, DUE)
    with store.read() as conn:
        assert conn.execute(sa.select(schema.reports.c.from_ms)).scalars().all() == [FEBRUARY]


# ---------------------------------------------------------------- late data


def test_late_readings_open_a_revision_that_says_what_it_changes_and_why(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    look(store, DUE)
    put(store, day(FEBRUARY, 3), DUE + DAY, seq=5000)
    opened = report(store)["revision"]
    assert (opened["number"], opened["closed_ms"], opened["replaces"]["number"]) == (2, None, 1)
    look(store, DUE + DAY)
    found = report(store, DUE + 2 * DAY)
    revision = found["revision"]
    times = day(FEBRUARY, 3)
    assert revision["why"] == {"readings": 300, "first_ms": times[0], "last_ms": times[-1], "devices": ["g0"]}
    assert (revision["number"], revision["opened_ms"]) == (2, DUE + DAY)
    assert revision["changed"] == opened["changed"]
    presence = next(item for item in revision["changed"]["criteria"] if item["criterion"] == "presence.silent")
    assert (presence["was"]["met_pct"], presence["now"]["met_pct"]) == (1.74, 3.47)
    assert revision["changed"]["minutes"]["up"] == {"was": 300, "now": 600}
    assert found["minutes"]["measured"] == 600


def test_live_readings_open_nothing(store: Store) -> None:
    look(store, DUE)
    put(store, [DUE + DAY], DUE + DAY)
    assert report(store)["revision"]["number"] == 1


def test_late_readings_of_a_month_that_is_not_reported_are_simply_in_it(store: Store) -> None:
    put(store, day(FEBRUARY, 2), DUE - DAY)
    look(store, DUE)
    assert report(store)["revision"]["number"] == 1
    assert report(store)["minutes"]["measured"] == 300


def test_a_revision_that_says_the_same_is_none(store: Store) -> None:
    look(store, DUE)
    with store.write() as conn:
        reopening.record_outages(conn, [(CENTER.code, FEBRUARY)], DUE + DAY)
    assert report(store)["revision"]["number"] == 2
    look(store, DUE + DAY)
    assert report(store)["revision"]["number"] == 1


def test_what_comes_while_a_report_is_made_is_in_it_all_the_same(store: Store) -> None:
    """Between reading and writing another transaction brings more: the report made meanwhile is thrown away."""
    put(store, day(FEBRUARY, 2), FEBRUARY)
    schedule.begin(store, STANDARDS, DUE)
    at_ms = DUE + reopening.SETTLE_MS
    with store.read() as conn:
        due = schedule._due(conn, at_ms, 1, WHOLE)
        made = schedule._made(conn, due, STANDARDS, at_ms)
    put(store, day(FEBRUARY, 3), at_ms, seq=5000)
    with store.keep() as conn:
        schedule._settle(conn, due[0], made[CENTER.code], at_ms)
    assert report(store)["revision"]["closed_ms"] is None
    assert schedule.finish(store, STANDARDS, at_ms + reopening.SETTLE_MS) == 1
    found = report(store)
    assert (found["revision"]["number"], found["minutes"]["measured"]) == (1, 600)


def test_a_boot_that_explains_a_dark_month_end_revises_both_months(store: Store) -> None:
    look(store, DUE)
    now_ms = DUE + DAY
    dark = {"previous_end": "power", "last_alive_ms": MARCH - DAY}
    boot = {"wall_ms": MARCH + DAY, "center": CENTER.code, "device": "g0", "spool": "s", "seq": 1, "subject": ""}
    fresh = FreshReading("boot", wire.BootReading(last_alive_ms=MARCH - DAY), MARCH + DAY, now_ms, "g0 s 1")
    with store.write() as conn:
        conn.execute(sa.insert(schema.readings["boot"]), [{**boot, "received_ms": now_ms, **dark}])
        reopening.record_group(conn, [(CENTER, [fresh])], now_ms)
    look(store, now_ms)
    assert report(store)["revision"]["changed"]["minutes"]["unknown_explained"] == {"was": 0, "now": 720}


@pytest.mark.control("late readings are stored and no revision is written", row=46)
def test_a_revision_that_is_not_written_is_found_by_the_check(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    look(store, DUE)
    with store.read() as conn:
        assert schedule.check(conn, CENTER.code, "2026-02", STANDARDS, DUE + DAY) == []
    put(store, day(FEBRUARY, 3), DUE + DAY, seq=5000, notes=False)
    with store.read() as conn:
        differs = schedule.check(conn, CENTER.code, "2026-02", STANDARDS, DUE + DAY)
    assert differs == ["ledger", "days", "minutes", "availability", "criteria", "evidence"]


# ---------------------------------------------------------------- what is kept, and for how long


def test_a_report_outlives_its_readings_to_the_bit(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    look(store, DUE)
    before = {name: form(report(store)) for name, form in FORMS.items()}
    assert forget(store, Retention(raw_days=1), DUE + 60 * DAY)["link_readings"]
    assert {name: form(report(store)) for name, form in FORMS.items()} == before
    with store.read() as conn, pytest.raises(ReportError, match="have been let go"):
        schedule.check(conn, CENTER.code, "2026-02", STANDARDS, DUE + DAY)


def test_what_comes_after_the_readings_were_let_go_is_told_and_changes_no_report(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    look(store, DUE)
    forget(store, Retention(raw_days=1), DUE + 60 * DAY)
    before = report(store)
    put(store, day(FEBRUARY, 3), DUE + 61 * DAY, seq=5000)
    look(store, DUE + 61 * DAY)
    after = report(store, DUE + 62 * DAY)
    assert {**before, "revision": 0} == {**after, "revision": 0}
    assert (after["revision"]["number"], after["revision"]["changed"]) == (2, {"readings_gone": True})
    assert "had been let go" in FORMS["html"](after)


def test_readings_stay_until_their_month_is_reported(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    schedule.begin(store, STANDARDS, FEBRUARY + 20 * DAY)
    for now_ms in (FEBRUARY + 20 * DAY, DUE):
        with store.read() as conn:
            needed_ms = schedule.reported_until(conn)
        assert forget(store, Retention(raw_days=1), now_ms, needed_ms) == {}
    look(store, DUE)
    with store.read() as conn:
        needed_ms = schedule.reported_until(conn)
    assert needed_ms == MARCH
    assert "link_readings" in forget(store, Retention(raw_days=1), DUE, needed_ms)


def test_turns_records_and_reports_go_with_the_evidence(store: Store, vouch) -> None:
    for name, at_ms in (("old", FEBRUARY), ("new", DUE)):
        vouch(store, CENTER.code, "g0", {name: (1.0, 1.0)}, at_ms)
    look(store, DUE)
    dropped = forget(store, Retention(evidence_days=30), DUE + 29 * DAY)
    assert dropped == {"grants": 1, "records": 1, "reports": 1}
    with store.read() as conn:
        assert conn.scalars(sa.select(schema.grants.c.test_id)).all() == ["new"]
        assert conn.scalars(sa.select(schema.records.c.test_id)).all() == ["new"]


# ---------------------------------------------------------------- what people see


def test_every_form_says_which_revision_it_is_in_both_languages(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    look(store, DUE)
    assert "Revision 2" not in FORMS["html"](report(store))
    put(store, day(FEBRUARY, 3), DUE + DAY, seq=5000)
    look(store, DUE + DAY)
    found = report(store)
    page = FORMS["html"](found)
    text = re.sub("<[^>]+>", "", page)
    assert "Revision 2, replaces revision 1 of 2026-03-06 00:10 PKT" in text
    assert "نظرثانی 2، نظرثانی 1 (2026-03-06 00:10 PKT) کی جگہ" in text
    assert "300 late readings, taken from 2026-02-03 09:00 PKT to 2026-02-03 13:59 PKT, of gateway g0" in text
    assert "گیٹ وے g0 کی 300 تاخیر سے آئی ریڈنگز" in text
    assert "<td>met<td" in page
    assert "<td>پوری<td" in page
    assert json.loads(FORMS["json"](found))["revision"]["replaces"]["number"] == 1
    assert FORMS["csv"](found).splitlines()[1].startswith("LHR-001,2026-02,True,2,")


def test_the_command_makes_a_month_anew_and_compares(store: Store, tmp_path: Path, capsys) -> None:
    words = [
        "report",
        "--center",
        CENTER.code,
        "--month",
        "2026-02",
        "--database",
        str(store.url),
        "--data",
        str(tmp_path),
    ]
    plain, key = Standards.of(examples()), bytes(32)
    with store.write() as conn:
        conn.execute(sa.update(schema.devices).values(device=device_name(key), public_key=key))
    assert main([*words, "--check"]) == 2
    assert "is not reported yet" in capsys.readouterr().err
    schedule.begin(store, plain, DUE)
    schedule.finish(store, plain, DUE + reopening.SETTLE_MS)
    assert main([*words, "--check"]) == 0
    assert "the same to the bit" in capsys.readouterr().out
    put(store, day(FEBRUARY, 3), DUE + DAY, notes=False)
    assert main([*words, "--check"]) == 1
    told = capsys.readouterr()
    assert "300 reading_added" in told.err
    assert "6 report_differs" in told.err
    assert "Reading g0 s 1 (Link): has a row, and no signed batch has it" in told.out


def test_a_report_of_before_there_were_days_is_compared_in_all_that_it_says() -> None:
    old = {"format": 4, "ledger": {"open": 720, "up": 700}, "criteria": []}
    new = {**old, "format": 5, "days": [{"from_ms": 0, "up": 700}]}
    assert schedule.differing(old, new) == []
    other = {**new, "ledger": {"open": 720, "up": 600}}
    assert schedule.differing(old, other) == ["ledger"]
    assert revisions.differences(old, other)["minutes"] == {"up": {"was": 700, "now": 600}}


def test_a_report_without_its_standard_waits_and_keeps_its_readings(store: Store) -> None:
    schedule.begin(store, STANDARDS, DUE)
    nothing = Standards.of([])
    assert schedule.finish(store, nothing, DUE + reopening.SETTLE_MS) == 1
    with store.read() as conn:
        assert schedule.reported_until(conn) == FEBRUARY
    assert schedule.finish(store, STANDARDS, DUE + 2 * schedule.LATER_MS) == 1
    assert report(store)["revision"]["number"] == 1


def test_many_centers_are_reported_in_one_pass_each_as_if_alone(sqlite_store: Store) -> None:
    codes = [f"C-{number}" for number in range(schedule.AT_ONCE + 1)]
    with sqlite_store.write() as conn:
        upsert(conn, schema.centers, [replace(CENTER, code=code).row() for code in codes])
        device = {"public_key": b"", "enrolled_ms": FEBRUARY}
        upsert(conn, schema.devices, [{"device": f"g-{code}", "center": code, **device} for code in codes])
        for number, code in enumerate(codes):
            rows = [
                {"wall_ms": at, "center": code, "device": f"g-{code}", "spool": "s", "seq": i, "subject": "wan",
                 "received_ms": at, "loss_pct": float(number), "rtt_median_ms": 20.0 + number, "jitter_ms": 1.0}
                for i, at in enumerate(day(FEBRUARY, 2, 30 + number))
            ]  # fmt: skip
            conn.execute(sa.insert(schema.readings["link"]), rows)
    assert (look(sqlite_store, DUE), look(sqlite_store, DUE)) == (schedule.AT_ONCE, 1)
    with sqlite_store.read() as conn:
        for code in codes:
            assert schedule.check(conn, code, "2026-02", STANDARDS, DUE + DAY) == []
            assert told(conn, code, "2026-02", STANDARDS, DUE)["minutes"]["measured"] == 30 + codes.index(code)


# ---------------------------------------------------------------- facts that hold from a date


def recorded(store: Store, lines: str, from_ms: int, now_ms: int) -> None:
    with store.write() as conn:
        origin = imports.Origin(by="Ayesha", second="Bilal")
        done = imports.do_import(conn, lines.splitlines(), now_ms, from_ms, origin)
        assert not done.mistakes
        reopening.record_facts(conn, [CENTER.code], from_ms, now_ms)


def test_hours_changed_today_change_no_minute_of_last_month(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    before = report(store, MARCH + DAY)
    recorded(store, f"center,opening\n{CENTER.code},Mon-Sat 10:00-16:00", MARCH, MARCH + DAY)
    assert report(store, MARCH + DAY) == before


def test_a_month_with_a_change_has_the_minutes_of_both_and_says_what_held(store: Store) -> None:
    tenth = FEBRUARY + 9 * DAY  # a Tuesday; the 1st is a Sunday
    put(store, day(FEBRUARY, 2), FEBRUARY)
    recorded(store, f"center,opening,isp\n{CENTER.code},Mon-Sat 10:00-16:00,ISP-B", tenth, tenth)
    look(store, DUE)
    found = report(store)
    assert found["ledger"]["open"] == 7 * 720 + 17 * 360
    assert [(item["from_ms"], item["to_ms"], item["opening"], item["isp"]) for item in found["facts"]] == [
        (FEBRUARY, tenth, "Mon-Sat 09:00-21:00", ""), (tenth, MARCH, "Mon-Sat 10:00-16:00", "ISP-B"),
    ]  # fmt: skip
    assert (found["center"]["opening"], found["center"]["isp"]) == ("Mon-Sat 10:00-16:00", "ISP-B")
    with store.read() as conn:
        assert schedule.check(conn, CENTER.code, "2026-02", STANDARDS, DUE + DAY) == []


def test_each_reading_is_judged_by_what_the_center_promised_then(store: Store) -> None:
    """Tier three asks for 20 Mbit/s, tier one for 50, each counted from 80 %: 20 Mbit/s meets one of the two."""
    tenth = FEBRUARY + 9 * DAY
    times = [FEBRUARY + (number - 1) * DAY + hour * 60 * MINUTE for number in (3, 4, 11, 12) for hour in (10, 15)]
    rows = [
        {"wall_ms": at, "center": CENTER.code, "device": "g0", "spool": "s", "seq": seq, "subject": "", "flags": "[]",
         "received_ms": at, "purpose": "routine", "engine": "librespeed", "download_mbps": 20.0, "upload_mbps": 9.0}
        for seq, at in enumerate(times, 1)
    ]  # fmt: skip
    with store.write() as conn:
        conn.execute(sa.insert(schema.readings["speed"]), rows)
    recorded(store, f"center,tier\n{CENTER.code},one", tenth, tenth)
    found = row(report(store, MARCH + DAY), "internet.download")
    assert (found["samples"], found["met"], found["bound"]) == (8, 4, 40.0)


def test_seats_are_counted_against_those_promised_then(store: Store) -> None:
    tenth = FEBRUARY + 9 * DAY
    calls = [FEBRUARY + (number - 1) * DAY + 10 * 60 * MINUTE for number in (3, 4, 11, 12)]
    rows = [
        {"wall_ms": at, "center": CENTER.code, "device": "g0", "spool": "s", "seq": seq, "subject": "",
         "received_ms": at, "known": 10, "healthy": 10, "unhealthy": 0, "missing": 0, "off": 0}
        for seq, at in enumerate(calls, 1)
    ]  # fmt: skip
    with store.write() as conn:
        conn.execute(sa.insert(schema.readings["seats"]), rows)
    recorded(store, f"center,seats_promised\n{CENTER.code},20", tenth, tenth)
    seats = report(store, MARCH + DAY)["seats"]
    assert (seats["promised"], seats["known_hours"], seats["full_hours"]) == (20, 4, 2)
    assert {hour["promised"] for hour in seats["hours"] if "promised" in hour} == {10}


def test_what_is_recorded_for_a_reported_month_revises_it_and_says_why(store: Store) -> None:
    put(store, day(FEBRUARY, 2), FEBRUARY)
    look(store, DUE)
    recorded(store, f"center,opening\n{CENTER.code},Mon-Sat 10:00-16:00", FEBRUARY, DUE + DAY)
    assert look(store, DUE + DAY) == 1
    found = report(store, DUE + 2 * DAY)
    assert (found["ledger"]["open"], found["revision"]["number"], found["revision"]["why"]) == (
        24 * 360, 2, {"facts": 1},
    )  # fmt: skip
    assert "1 record of hours, tier, seats or provider that held then" in FORMS["html"](found)
