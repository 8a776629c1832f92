"""Day sheets: a function of the day, kept, made again alone when something of it comes; and what is taken out."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import wire
from collector.judging import reopening
from collector.judging.evaluate import FreshReading
from collector.judging.flags.backup import Cut
from collector.register import calendar, centers, dated
from collector.register.calendar import CalendarEntry
from collector.register.centers import Center
from collector.reports import day_store, exclusions, schedule
from collector.reports.day_sheets import (
    APART,
    FORMER_APART,
    Availability,
    CriterionDay,
    DaySheet,
    Samples,
    merged,
    packed_sheet,
    sheet_body,
    stored_sheet,
    unpacked_sheet,
)
from collector.reports.ledger import BUCKETS
from collector.reports.monthly import build
from collector.reports.monthly_verdicts import numbers, share_verdict, wilson_pct
from collector.reports.render import FORMS
from collector.standard.criteria import MonthRule
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless_standards

MINUTE, DAY = 60_000, 86_400_000
STANDARDS = timeless_standards()
CENTER = Center(
    code="LHR-1", name="Gulberg", tier="three", seats_promised=10, lifecycle="declared", opening="daily 09:00-21:00",
    feeder="F-7", isp="ISP-A",
)  # fmt: skip


def at(day: str, hour: float = 0) -> int:
    return dated.day_ms(day) + round(hour * 60) * MINUTE


NOW = at("2026-02-20", 12)


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return filled(sqlite_store)


@pytest.fixture
def either(either_store: Store) -> Store:
    return filled(either_store)


def filled(store: Store) -> Store:
    with store.write() as conn:
        upsert(conn, schema.centers, [CENTER.row()])
        device = {"device": "g", "center": CENTER.code, "public_key": b"", "enrolled_ms": at("2026-02-01")}
        upsert(conn, schema.devices, [device])
    for number, day in enumerate(("2026-02-18", "2026-02-19"), 1):
        put(store, "link", day, 10, 60, number, loss_pct=0.0, rtt_median_ms=20.0 + number, jitter_ms=1.0)
    put(store, "link", "2026-02-19", 11, 30, 3, loss_pct=100.0)
    put(store, "ups", "2026-02-19", 10, 60, 4, output_state="online")
    put(store, "ups", "2026-02-19", 11, 30, 5, output_state="battery", battery_status="low")
    return store


def put(store: Store, kind: str, day: str, hour: float, count: int, block: int, now_ms: int = 0, **values: Any) -> None:
    """A reading a minute, from the half of a minute on; told to the reports when `now_ms` is given."""
    times = [at(day, hour) + n * MINUTE for n in range(count)]
    rows = [
        {"wall_ms": ms, "center": CENTER.code, "device": "g", "spool": "s", "seq": block * 1000 + n, "subject": "",
         "received_ms": now_ms or ms, **values}
        for n, ms in enumerate(times)
    ]  # fmt: skip
    fresh = [FreshReading(kind, wire.LinkReading(), ms, now_ms, f"g s {ms}") for ms in times]
    with store.write() as conn:
        conn.execute(sa.insert(schema.readings[kind]), rows)
        if now_ms:
            reopening.record_group(conn, [(CENTER, fresh)], now_ms)


def made(store: Store, now_ms: int = NOW) -> int:
    """What housekeeping does; returns how many sheets it made."""
    day_store.begin_days(store, now_ms)
    count = 0
    while some := day_store.make(store, STANDARDS, now_ms):
        count += some
    return count


def told(store: Store, now_ms: int = NOW) -> dict[str, Any]:
    with store.read() as conn:
        return schedule.told(conn, CENTER.code, "2026-02", STANDARDS, now_ms)


def kept(store: Store) -> dict[str, DaySheet]:
    table = schema.day_sheets.c
    with store.read() as conn:
        rows = conn.execute(sa.select(table.day_ms, table.body).where(table.made_ms.is_not(None))).all()
    found = {dated.day_of(row.day_ms): stored_sheet(row.body) for row in rows}
    return {day: sheet for day, sheet in found.items() if sheet is not None}


# ---------------------------------------------------------------- kept sheets


def test_a_report_says_the_same_from_kept_sheets_and_from_readings(either: Store) -> None:
    before = told(either)
    with either.write() as conn:
        upsert(conn, schema.about, [{"name": day_store.SHEETS_UNTIL, "value": str(at("2026-02-01"))}])
    assert made(either) == 19
    assert told(either) == before
    assert made(either) == 0


def test_a_report_rests_on_kept_sheets_and_the_check_on_readings(store: Store) -> None:
    """A kept sheet that somebody has edited is found."""
    made(store)
    sheet = kept(store)["2026-02-19"]
    liar = DaySheet(
        **{name: getattr(sheet, name) for name in sheet.__struct_fields__} | {"minutes": {**sheet.minutes, "up": 700}}
    )
    with store.write() as conn:
        values = {"body": zlib.compress(packed_sheet(liar))}
        conn.execute(sa.update(schema.day_sheets).where(schema.day_sheets.c.day_ms == at("2026-02-19")).values(values))
    assert told(store)["ledger"]["up"] == 700 + 61
    due = at("2026-03-06")
    schedule.begin(store, STANDARDS, due)
    while schedule.finish(store, STANDARDS, due + reopening.SETTLE_MS):
        pass
    with store.read() as conn:
        assert "ledger" in schedule.check(conn, CENTER.code, "2026-02", STANDARDS, due)


def test_late_readings_remake_that_sheet_alone(either: Store) -> None:
    with either.write() as conn:
        upsert(conn, schema.about, [{"name": day_store.SHEETS_UNTIL, "value": str(at("2026-02-17"))}])
    assert made(either) == 3
    before = kept(either)
    put(either, "link", "2026-02-18", 15, 10, 9, now_ms=NOW, loss_pct=0.0, rtt_median_ms=30.0, jitter_ms=1.0)
    assert sorted(kept(either)) == ["2026-02-17", "2026-02-19"]
    assert made(either) == 1
    after = kept(either)
    assert after["2026-02-18"].minutes["up"] == before["2026-02-18"].minutes["up"] + 11
    assert {day: sheet for day, sheet in after.items() if day != "2026-02-18"} == {
        day: sheet for day, sheet in before.items() if day != "2026-02-18"
    }


def test_what_comes_while_a_sheet_is_made_lets_it_be_made_once_more(store: Store) -> None:
    day_store.begin_days(store, NOW)
    with store.write() as conn:  # between the reading of the due rows and their keeping, another transaction
        row = conn.execute(sa.select(schema.day_sheets)).one()
        reopening.mark(conn, [(CENTER.code, row.day_ms, row.day_ms)])
        stale = (schema.day_sheets.c.marks == row.marks) & (schema.day_sheets.c.day_ms == row.day_ms)
        assert conn.execute(sa.update(schema.day_sheets).where(stale).values(made_ms=1)).rowcount == 0
    assert made(store) == 1


@pytest.mark.parametrize("what", ["facts", "calendar", "outages", "records", "moves"])
def test_whatever_touches_a_day_has_its_sheet_made_again(store: Store, what: str) -> None:
    made(store)
    with store.write() as conn:
        if what == "facts":
            reopening.record_facts(conn, [CENTER.code], at("2026-02-19"), NOW)
        elif what == "calendar":
            reopening.record_calendar(conn, [CENTER.code], at("2026-02-19"), at("2026-02-20"), NOW)
        elif what == "outages":
            reopening.record_outages(conn, [(CENTER.code, at("2026-02-19", 3))], NOW)
        elif what == "records":
            reopening.record_server_results(conn, [(CENTER.code, at("2026-02-19", 3))], NOW)
        else:
            reopening.record_moves(conn, [(at("2026-02-19", 23.5), CENTER.code)], NOW)
    assert kept(store) == {}
    assert made(store) == 1


def test_live_readings_touch_no_sheet(store: Store) -> None:
    made(store)
    put(store, "link", "2026-02-20", 11.9, 2, 9, now_ms=NOW, loss_pct=0.0)
    assert len(kept(store)) == 1


# ---------------------------------------------------------------- a day's minutes


def test_a_day_is_told_in_buckets_and_in_line_and_power(store: Store) -> None:
    made(store)
    sheet = kept(store)["2026-02-19"]
    assert sheet.minutes == {
        "up": 60, "below": 1, "down": 30, "excused": 0, "unknown_explained": 0, "unknown_unexplained": 629, "ours": 0,
    }  # fmt: skip
    line = sheet.availability.line_up, sheet.availability.line_down
    assert (line, sheet.availability.mains, sheet.availability.battery) == ((61, 30), 60, 31)
    available = told(store)["availability"]
    assert (available["line"]["pct"], available["power"]["pct"]) == (80.26, 100.0)


def test_a_reading_of_the_last_half_minute_speaks_for_the_next_day_and_is_a_sample_of_its_own(store: Store) -> None:
    with store.write() as conn:
        conn.execute(sa.update(schema.centers).values(opening="always"))
        late = {"wall_ms": at("2026-02-17", 24) - 15_000, "center": CENTER.code, "device": "g", "spool": "s", "seq": 1}
        values = {"subject": "", "received_ms": 0, "loss_pct": 0.0, "rtt_median_ms": 20.0, "jitter_ms": 1.0}
        conn.execute(sa.delete(schema.readings["link"]))
        conn.execute(sa.insert(schema.readings["link"]), [late | values])
        upsert(conn, schema.about, [{"name": day_store.SHEETS_UNTIL, "value": str(at("2026-02-17"))}])
    made(store)
    first, second = kept(store)["2026-02-17"], kept(store)["2026-02-18"]
    assert (first.minutes["up"], second.minutes["up"]) == (1, 1)
    counted = [{one.criterion: one.counted for one in sheet.criteria} for sheet in (first, second)]
    assert (counted[0]["internet.latency"], counted[1]) == (1, {})


def entry(kind: str, from_ms: int, to_ms: int | None, **more: Any) -> CalendarEntry:
    usual = {"scope": "center", "subject": CENTER.code, "recorded_ms": NOW, "recorded_by": "Ayesha", "reason": "works"}
    return CalendarEntry(kind=kind, from_ms=from_ms, to_ms=to_ms, **(usual | more))  # type: ignore[arg-type]


def test_an_approved_closure_takes_its_minutes_and_samples_out_and_is_listed(store: Store) -> None:
    before = told(store)
    closed = entry("closure", at("2026-02-19", 11), at("2026-02-19", 12))
    with store.write() as conn:
        waits = calendar.add(conn, [closed])
    assert told(store)["ledger"] == before["ledger"]  # nobody has approved it yet
    with store.write() as conn:
        calendar.confirm(conn, waits, "Bilal", NOW)
    found = told(store)
    assert (found["ledger"]["excused"], found["ledger"]["down"]) == (60, 0)
    assert found["ledger"]["open"] == before["ledger"]["open"]
    assert [(one["code"], one["minutes"], one["proposed_by"], one["approved_by"]) for one in found["exclusions"]] == [
        ("closure", 60, "Ayesha", "Bilal")
    ]
    loss = next(row for row in found["criteria"] if row["criterion"] == "power.protected")
    assert {item["reason"]["code"]: item["count"] for item in loss["not_counted"]}["month.excused"] == 30
    assert "Ayesha" in FORMS["html"](found)


def cut(first: float, minutes: int, **more: Any) -> Cut:
    from_ms = at("2026-02-19", first)
    end = from_ms + minutes * MINUTE
    return replace(Cut(noted_ms=from_ms, from_ms=from_ms, last_ms=end, to_ms=end), **more)


SCHEDULE = entry("shedding", at("2026-02-01"), None, scope="feeder", subject="F-7", hours="daily 10:00-12:00", id=5)
SPAN = at("2026-02-19"), at("2026-02-20")


@pytest.mark.parametrize(
    ("one", "asked_s", "expected"),
    [
        (cut(10, 120), 1800, (10.5, 12)),  # the first half hour is the UPS's to carry
        (cut(9.5, 120), 1800, (10, 11.5)),  # what lies outside of the schedule is no load-shedding
        (cut(10, 20), 1800, None),  # the mains were back before the backup that is asked was over
        (cut(10, 120, died_ms=at("2026-02-19", 10.25)), 1800, None),  # the UPS gave less than is asked
        (cut(10, 120, died_ms=at("2026-02-19", 11)), 1800, (10.5, 12)),  # it gave that, and then no more
        (cut(14, 60), 1800, None),
        (cut(10, 120), None, None),  # a standard that asks for no backup
    ],
)
def test_load_shedding_excuses_only_what_the_ups_proves(one: Cut, asked_s: float | None, expected: Any) -> None:
    found = exclusions.load_shedding(SCHEDULE, {"ups": [one]}, asked_s, SPAN)
    assert [(item.from_ms, item.to_ms) for item in found] == (
        [] if expected is None else [(at("2026-02-19", expected[0]), at("2026-02-19", expected[1]))]
    )
    assert all(item.evidence == ("calendar 5", f"cut ups {one.noted_ms}") for item in found)


def test_a_schedule_alone_excuses_nothing(store: Store) -> None:
    with store.write() as conn:
        calendar.add(conn, [SCHEDULE])
    found = told(store)
    assert (found["ledger"]["excused"], found["exclusions"]) == (0, [])


# ---------------------------------------------------------------- pure: merging

counts = st.integers(0, 99)
values = st.dictionaries(st.floats(0, 9, allow_nan=False), st.integers(1, 5), max_size=3).map(
    lambda found: tuple(found.items())
)
criteria = st.builds(
    CriterionDay,
    criterion=st.sampled_from(["a", "b"]), subject=st.just(""), counted=counts, met=counts,
    values=values,
    slots=st.sets(st.integers(0, 3)).map(tuple), covered=counts, not_counted=st.just(()),
)  # fmt: skip
sheets = st.builds(
    DaySheet,
    center=st.just("C"), from_ms=st.integers(0, 99), to_ms=st.just(100), standards=st.just(()),
    minutes=st.fixed_dictionaries(dict.fromkeys(BUCKETS, counts)), before=counts, lost=counts,
    availability=st.builds(Availability, line_up=counts, line_down=counts, mains=counts, battery=counts, off=counts),
    criteria=st.lists(criteria, max_size=2, unique_by=lambda one: one.criterion).map(tuple),
    seats=st.just(()), excused=st.just(()), sha256=st.text("0123456789abcdef", min_size=4, max_size=4),
)  # fmt: skip


@settings(max_examples=30)
@given(st.lists(sheets, max_size=6, unique_by=lambda sheet: sheet.from_ms), st.randoms(use_true_random=False))
def test_a_month_is_the_sum_of_its_days_in_any_order(days: list[DaySheet], dice: Any) -> None:
    month, shuffled = merged(days), merged(dice.sample(days, len(days)))
    assert (month.ledger, month.availability, month.found, month.sha256) == (
        shuffled.ledger, shuffled.availability, shuffled.found, shuffled.sha256,
    )  # fmt: skip
    assert month.ledger.open == sum(sum(sheet.minutes.values()) for sheet in days)
    for name, samples in month.found.items():
        mine = [one for sheet in days for one in sheet.criteria if (one.criterion, one.subject) == name]
        assert samples.counted == sum(one.counted for one in mine)
        assert samples.values.total() == sum(n for one in mine for _, n in one.values)
    assert all(unpacked_sheet(packed_sheet(sheet)) == sheet == stored_sheet(sheet_body(sheet)) for sheet in days)


# ---------------------------------------------------------------- pure: verdicts by three numbers


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 300), st.integers(50, 100))
def test_the_three_numbers_hold_each_other_and_unknown_minutes_never_help(
    counted: int, met: int, unknown: int, asked_pct: int
) -> None:
    samples = Samples(counted=counted, met=min(met, counted))
    found = numbers(MonthRule(share_pct=asked_pct), samples, unknown)
    low, own, high = (found["numbers"][name]["met_pct"] for name in ("unknown_as_down", "as_computed", "unknown_as_up"))
    assert low <= own <= high
    order = ["below", "watch", "meets"]
    down, up = (found["numbers"][name]["verdict"] for name in ("unknown_as_down", "unknown_as_up"))
    assert unknown or found["decided_by_data"]
    assert found["decided_by_data"] == (down == up == found["numbers"]["as_computed"]["verdict"])
    assert order.index(up) >= order.index(down) or up == "watch"
    assert 0 <= wilson_pct(samples.met, counted, -1) <= own + 0.01
    assert own - 0.01 <= wilson_pct(samples.met, counted, 1) <= 100.01


def test_a_month_half_dark_is_not_decided_by_data() -> None:
    samples = Samples(counted=100, met=100)
    found = numbers(MonthRule(share_pct=95), samples, 100)
    assert [found["numbers"][name]["verdict"] for name in ("as_computed", "unknown_as_up", "unknown_as_down")] == [
        "meets", "meets", "below",
    ]  # fmt: skip
    assert not found["decided_by_data"]
    assert share_verdict(95, 93, 100) == "watch"


def test_minutes_that_are_known_only_by_what_was_kept_offline_have_a_grade_of_their_own(
    sqlite_store: Store, gateway
) -> None:
    mine = gateway(sqlite_store)
    noon_ms, minute_ms = 1_795_071_600_000, 60_000
    with sqlite_store.write() as conn:
        for number in range(10):
            at_ms = noon_ms + number * minute_ms
            late_ms = 3_600_000 if number < 6 else 5_000
            keys = {"wall_ms": at_ms, "center": mine.center, "device": mine.device, "spool": "s", "seq": number}
            row = {**keys, "received_ms": at_ms + late_ms, "subject": "", "output_state": "online"}
            conn.execute(sa.insert(schema.readings["ups"]).values(row))
    with sqlite_store.read() as conn:
        found = build(conn, centers.get(conn, mine.center), "2026-11", STANDARDS, noon_ms + 40 * 86_400_000)
    assert found["minutes"]["measured"] >= 10
    assert 5 <= found["minutes"]["offline"] <= 6
    assert (found["evidence"]["grade"], found["evidence"]["offline_grade"]) == ("E1", "E0")


@pytest.mark.parametrize(
    ("values", "is_apart"),
    [(((0.1, 3), (20.125, 1), (2_000_000.0, 70_000)), True), ((), True), (((-3.5, 1), (0.0, 2)), True),
     (((1 / 3, 1),), True), (((3e6, 1), (9e6, 1)), True), (((2.0, 1), (1.0, 1)), False), (((1e308, 1),), True)],
)  # fmt: skip
def test_a_sheet_is_stored_with_its_values_apart_where_they_ascend(
    values: tuple[tuple[float, int], ...], is_apart: bool
) -> None:
    one = CriterionDay(criterion="a", subject="wan", counted=9, met=9, values=values, slots=(), covered=9)
    two = msgspec.structs.replace(one, criterion="b", values=((5.0, 1),))
    sheet = DaySheet(
        center="LHR-1", from_ms=0, to_ms=1, standards=(), minutes=dict.fromkeys(BUCKETS, 0), before=0, lost=0,
        availability=Availability(), criteria=(one, two), seats=(), excused=(), sha256="",
    )  # fmt: skip
    body = sheet_body(sheet)
    assert body.startswith(APART) == is_apart
    assert stored_sheet(body) == sheet
    if is_apart:
        assert stored_sheet(body[:-1]) is None  # harmed: it is made anew


def test_a_sheet_is_read_as_it_was_stored_before() -> None:
    one = CriterionDay(criterion="a", subject="", counted=9, met=9, values=(), slots=(), covered=9)
    sheet = DaySheet(
        center="LHR-1", from_ms=0, to_ms=1, standards=(), minutes=dict.fromkeys(BUCKETS, 0), before=0, lost=0,
        availability=Availability(), criteria=(one, one), seats=(), excused=(), sha256="",
    )  # fmt: skip
    head = zlib.compress(packed_sheet(sheet))
    figures = struct.pack("<8i", 2, 1, 100, 2500, 3, 4, 7, 8)
    body = FORMER_APART + len(head).to_bytes(4, "little") + head + zlib.compress(figures)
    again = stored_sheet(body)
    assert again is not None
    assert [day.values for day in again.criteria] == [((0.1, 3), (2.5, 4)), ((0.007, 8),)]
    assert stored_sheet(sheet_body(again)) == again
