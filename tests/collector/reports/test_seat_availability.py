"""Seats that could be used, hour by open hour, and why others could not; on both databases."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
import sqlalchemy as sa

from agent import wire
from agent.common.center_time import TZ
from agent.common.words import plain
from collector.register.centers import Center
from collector.reports.monthly import build
from collector.reports.render import as_html
from collector.reports.schedule import told
from collector.reports.seat_availability import HOUR_MS, Hour, SeatSample, hours, reasons, worst
from collector.store import Store, schema, upsert
from tests.collector.standard.timeless import timeless_standards

MINUTE = 60_000
CENTER = Center(
    code="LHR-001", name="Gulberg", city="Lahore", tier="three", seats_promised=3, lifecycle="declared",
    opening="Mon-Sat 09:00-21:00",
)  # fmt: skip


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TZ)).timestamp() * 1000)


def minutes(first_ms: int, count: int) -> set[int]:
    return {first_ms // MINUTE + i for i in range(count)}


def columns(*states: tuple[str, str]) -> wire.SeatColumns:
    return wire.SeatColumns(
        id=[f"SEAT-{number:02}" for number, _ in enumerate(states, 1)],
        state=[state for state, _why in states],  # type: ignore[misc]
        why=[why for _state, why in states],
    )


# ---------------------------------------------------------------- pure


def test_an_hour_is_the_middle_of_its_roll_calls_and_remembers_the_worst() -> None:
    start_ms = at("2026-02-02T09:00")
    calls = [SeatSample(start_ms + i * MINUTE, healthy, 1, 10) for i, healthy in enumerate((8, 9, 2, 9, 9))]
    (hour,) = hours(calls, minutes(start_ms, 60))
    assert (hour.calls, hour.usable, hour.off, hour.fewest) == (5, 9, 1, 2)
    assert hour.fewest_ms == start_ms + 2 * MINUTE


def test_an_open_hour_without_a_roll_call_is_unknown_and_a_closed_one_is_not_there() -> None:
    start_ms = at("2026-02-02T09:00")
    closed_ms = at("2026-02-02T22:00")
    found = hours([SeatSample(closed_ms, 10, 0, 10)], minutes(start_ms, 120))
    assert found == [Hour(start_ms), Hour(start_ms + HOUR_MS)]


def test_the_closed_part_of_an_hour_counts_for_nothing() -> None:
    nine_ms, half_ms = at("2026-02-02T09:00"), at("2026-02-02T09:30")
    (hour,) = hours([SeatSample(nine_ms, 0, 10, 10), SeatSample(half_ms, 9, 1, 10)], minutes(half_ms, 30))
    assert (hour.hour_ms, hour.calls, hour.fewest) == (nine_ms, 1, 9)


def test_reasons_are_the_roll_calls_own_words_and_bounded() -> None:
    words = reasons(columns(("healthy", ""), ("unhealthy", "disk failing: 256 GB"), ("missing", ""), ("off", "x")), 6)
    assert [plain().reason(reason) for reason in words] == [
        "SEAT-02: Unhealthy, disk failing: 256 GB", "SEAT-03: Missing", "2 of those promised are not on the roll",
    ]  # fmt: skip
    assert len(reasons(columns(*[("missing", "")] * 500), 500)) == 9


def test_the_worst_hours_come_first_and_full_ones_not_at_all() -> None:
    plain = [
        {"hour_ms": ms, "usable": usable, "fewest": fewest} for ms, usable, fewest in ((1, 3, 3), (2, 3, 1), (3, 1, 1))
    ]
    assert [hour["hour_ms"] for hour in worst([*plain, {"hour_ms": 4, "usable": None, "fewest": None}], 3)] == [3, 2]


# ---------------------------------------------------------------- in the report


@pytest.fixture
def store(either_store: Store) -> Store:
    device = {"device": "g0", "center": CENTER.code, "public_key": b"", "enrolled_ms": at("2026-02-01T00:00")}
    with either_store.write() as conn:
        upsert(conn, schema.centers, [CENTER.row()])
        upsert(conn, schema.devices, [device])
    return either_store


def put(store: Store, first_ms: int, count: int, seats: wire.SeatColumns) -> None:
    tally = {state: seats.state.count(state) for state in ("healthy", "unhealthy", "missing", "off")}
    rows = [
        {
            "wall_ms": first_ms + i * MINUTE, "center": CENTER.code, "device": "g0", "spool": "s",
            "seq": (first_ms // MINUTE + i) % 10**6, "subject": "", "received_ms": first_ms, "known": len(seats.id),
            "seats": msgspec.json.encode(seats).decode(), **tally,
        }
        for i in range(count)
    ]  # fmt: skip
    with store.write() as conn:
        conn.execute(sa.insert(schema.readings["seats"]), rows)


def test_the_report_says_hour_by_hour_what_could_be_used_and_why_not(store: Store) -> None:
    whole = columns(("healthy", ""), ("healthy", ""), ("healthy", ""))
    part = msgspec.structs.replace(
        columns(("healthy", ""), ("missing", ""), ("off", "")), faults={"SEAT-02": "silent:silent_s=300"}
    )
    put(store, at("2026-02-02T09:00"), 60, whole)
    put(store, at("2026-02-02T10:00"), 60, part)
    put(store, at("2026-02-02T22:00"), 60, part)  # closed
    with store.read() as conn:
        report = told(conn, CENTER.code, "2026-02", timeless_standards(), at("2026-03-05T12:00"))
    seats = report["seats"]
    assert (seats["promised"], seats["open_hours"], seats["known_hours"], seats["full_hours"]) == (3, 24 * 12, 2, 1)
    nine, ten = [hour for hour in seats["hours"] if hour["calls"]]
    assert (nine["usable"], nine["fewest"], nine["reasons"]) == (3, 3, [])
    assert (ten["usable"], ten["off"]) == (1, 1)
    page = re.sub("<[^>]+>", "", as_html(report))
    assert "SEAT-02: Missing, silent for 5\u00a0min" in page
    assert "SEAT-02: غائب، 5\u00a0منٹ سے خاموش" in page
    assert "2026-02-02 10:00" in page


def test_a_center_that_never_opened_has_no_hours(store: Store) -> None:
    with store.read() as conn:
        report = build(
            conn,
            Center(**{**{f: getattr(CENTER, f) for f in CENTER.__dataclass_fields__}, "opening": "Mon closed"}),
            "2026-02",
            timeless_standards(),
            at("2026-03-05T12:00"),
        )
    assert report["seats"]["hours"] == []
