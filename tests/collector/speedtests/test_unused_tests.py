"""Tests that were granted and not made: who chooses which tests to make does not choose the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from collector.register import centers
from collector.reports.monthly import build
from collector.speedtests.policy import HOLD_MS
from collector.standard import Standard, Standards
from collector.store import Store, schema
from tests.collector.standard.timeless import timeless

NOON = 1_795_071_600_000  # Thursday 2026-11-19 12:00 in Karachi
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
CAPS = {"skipped_on_battery": 2, "other": 1}


def standard(caps: dict[str, int] | None = CAPS) -> Standard:
    rows = [replace(item, month=replace(item.month, unused=caps if item.month.unused else None))
            for item in timeless().criteria]  # fmt: skip
    return replace(timeless(), criteria=tuple(rows))


@pytest.fixture
def mine(sqlite_store: Store, gateway: Callable):
    made = gateway(sqlite_store)
    row = {"center": made.center, "kind": "speed", "subject": "wan", "device": made.device}
    with sqlite_store.write() as conn:
        conn.execute(sa.insert(schema.latest).values(**row, wall_ms=NOON - DAY, received_ms=NOON - DAY, body="{}"))
    return made


def grant(store: Store, mine, test: str, at_ms: int, *, heard: bool = True, purpose: str = "routine") -> None:
    who = {"center": mine.center, "device": mine.device, "server": "pie", "purpose": purpose, "state": "expired"}
    times = {"asked_ms": at_ms, "granted_ms": at_ms, "expires_ms": at_ms + HOLD_MS}
    with store.write() as conn:
        conn.execute(sa.insert(schema.grants).values(test_id=test, **who, **times))
        if heard:
            reading(conn, "ups", mine, at_ms, output_state="online")


def reading(conn: sa.Connection, kind: str, mine, at_ms: int, **values: object) -> None:
    keys = {"wall_ms": at_ms, "center": mine.center, "device": mine.device, "spool": "s", "seq": at_ms}
    conn.execute(sa.insert(schema.readings[kind]).values(**keys, received_ms=at_ms, **({"subject": ""} | values)))


def skipped(store: Store, mine, test: str, at_ms: int, cause: str) -> None:
    with store.write() as conn:
        failure = f'{{"cause":"{cause}","detail":""}}'
        reading(conn, "speed", mine, at_ms, subject="wan", test_id=test, purpose="routine", flags="[]", failure=failure)


def server_is_there(store: Store, at_ms: int = NOON, test: str = "other", **values: object) -> None:
    row = {"test_id": test, "server": "pie", "device": "g9", "address": "203.0.113.9"} | values
    seen = {
        "witnessed": True,
        "down_bytes": 0,
        "up_bytes": 0,
        "down_s": 0.0,
        "up_s": 0.0,
        "body": b"",
        "signature": b"",
    }
    with store.write() as conn:
        conn.execute(sa.insert(schema.records).values(**row, **seen, started_ms=at_ms, received_ms=at_ms))


def month(store: Store, version: Standard, now_ms: int = NOON + 40 * DAY) -> dict:
    with store.read() as conn:
        found = build(conn, centers.get(conn, "LHR-1"), "2026-11", Standards.of([version]), now_ms)
    return next(row for row in found["criteria"] if row["criterion"] == "internet.download")


def words(row: dict) -> dict[str, int]:
    """Reasons of unused tests, with the cause of those that fall short."""
    found = {}
    for item in row["not_counted"]:
        code, params = item["reason"]["code"], item["reason"].get("params", {})
        if code.startswith("month."):
            why = params.get("found", {})
            found[f"{code} {why.get('params', {}).get('cause', '') or why.get('code', '')}".strip()] = item["count"]
    return found


def test_unused_tests_fall_short_but_for_those_that_a_reason_excuses(sqlite_store: Store, mine) -> None:
    server_is_there(sqlite_store)
    for n in range(3):
        grant(sqlite_store, mine, f"t{n}", NOON + n * MINUTE)
    for n in range(3, 8):
        grant(sqlite_store, mine, f"t{n}", NOON + n * MINUTE)
        skipped(sqlite_store, mine, f"t{n}", NOON + n * MINUTE, "skipped_on_battery")
    row = month(sqlite_store, standard())
    assert (row["samples"], row["met"]) == (3 - 1 + 5 - 2, 0)
    assert words(row) == {
        "month.unused month.no_answer": 2,
        "month.no_answer": 1,
        "month.unused skipped_on_battery": 3,
    }


def test_a_standard_that_does_not_ask_counts_none(sqlite_store: Store, mine) -> None:
    server_is_there(sqlite_store)
    for n in range(9):
        grant(sqlite_store, mine, f"t{n}", NOON + n * MINUTE)
    assert month(sqlite_store, standard(None))["samples"] == 0


@pytest.mark.parametrize("why", ["dark", "no_server", "manual", "used", "too_early"])
def test_what_the_center_could_not_help_is_no_sample(sqlite_store: Store, mine, why: str) -> None:
    if why != "no_server":
        server_is_there(sqlite_store)
    for n in range(4):
        purpose = "manual" if why == "manual" else "routine"
        grant(sqlite_store, mine, f"t{n}", NOON + n * MINUTE, heard=why != "dark", purpose=purpose)
        if why == "used":
            server_is_there(sqlite_store, test=f"t{n}", down_mbps=90.0, up_mbps=90.0, device=mine.device)
    now_ms = NOON + 5 * MINUTE if why == "too_early" else NOON + 40 * DAY
    found = month(sqlite_store, standard(), now_ms)
    assert words(found) == {}
    assert found["samples"] in (0, 4)


def test_a_result_that_no_server_saw_is_an_unused_test(sqlite_store: Store, mine) -> None:
    server_is_there(sqlite_store)
    for n in range(2):
        grant(sqlite_store, mine, f"t{n}", NOON + n * MINUTE)
        with sqlite_store.write() as conn:
            figures = {"download_mbps": 90.0, "upload_mbps": 90.0, "purpose": "routine", "flags": "[]"}
            reading(conn, "speed", mine, NOON + n * MINUTE, subject="wan", test_id=f"t{n}", **figures)
    assert words(month(sqlite_store, standard())) == {"month.unused month.no_record": 1, "month.no_record": 1}
