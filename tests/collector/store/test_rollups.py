"""Sums of hours and days: the same as the readings give, made once an hour is over, made again when more comes late."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.ingest.transaction import Ingest
from collector.store import Store, queries, schema, upsert
from collector.store.months import RAW_FROM
from collector.store.rollups import DAY_MS, HOUR_MS, ROLLED, SETTLE_MS, day_of, roll, rolled_until

HOUR = 1_795_000_000_000 // HOUR_MS * HOUR_MS
KINDS: dict[str, dict[str, Any]] = {
    "link": {"rtt_median_ms": 20.0, "rtt_p95_ms": 40.0, "jitter_ms": 1.0, "loss_pct": 0.5},
    "ups": {"battery_charge_pct": 90.0, "load_pct": 20.0, "output_state": "online"},
    "speed": {"download_mbps": 40.0, "upload_mbps": 10.0, "purpose": "routine"},
}


def put(store: Store, kind: str, wall_ms: int, center: str = "LHR-1", seq: int = 0, **fields: object) -> None:
    row = {"wall_ms": wall_ms, "center": center, "device": "g1", "spool": "s", "seq": seq or wall_ms, "subject": ""}
    with store.write() as conn:
        conn.execute(sa.insert(schema.readings[kind]).values(row | {"received_ms": wall_ms} | KINDS[kind] | fields))


def scatter(store: Store, hours: int, seed: int = 7) -> None:
    """Readings of two centers at random times, some without values, with a pause in between."""
    dice = random.Random(seed)
    rows: dict[str, list[dict[str, object]]] = {kind: [] for kind in KINDS}
    for seq in range(600):
        kind = dice.choice(list(KINDS))
        at = HOUR - dice.randrange(hours * HOUR_MS)
        if 20 * HOUR_MS < HOUR - at < 23 * HOUR_MS:
            continue
        values = {
            name: value if not isinstance(value, float) else dice.choice([None, round(dice.uniform(0, 99), 3)])
            for name, value in KINDS[kind].items()
        }
        key = {"wall_ms": at, "center": dice.choice(["LHR-1", "KHI-2"]), "device": "g1", "spool": "s", "seq": seq}
        words = {"output_state": dice.choice(["online", "battery"])} if kind == "ups" else {}
        rows[kind].append(key | {"subject": dice.choice(["", "wan2"]), "received_ms": at} | values | words)
    with store.write() as conn:
        for kind, some in rows.items():
            conn.execute(sa.insert(schema.readings[kind]), some)


def plainly(store: Store, kind: str, of: Any) -> dict[tuple[object, ...], dict[str, float | None]]:
    """The sums of `of(wall_ms)`, made in Python of all readings."""
    with store.read() as conn:
        rows = list(conn.execute(sa.select(schema.readings[kind])).mappings())
    found: dict[tuple[object, ...], dict[str, float | None]] = {}
    for key in {(row["center"], row["subject"], of(row["wall_ms"])) for row in rows}:
        mine = [row for row in rows if (row["center"], row["subject"], of(row["wall_ms"])) == key]
        sums: dict[str, float | None] = {"n": len(mine)}
        for field, how, column in [(it.name, it.how, it.field) for it in schema.FIGURES[kind].values()]:
            values = [row[column] for row in mine if row[column] is not None]
            if how == "avg":
                sums |= {f"{field}_sum": sum(values) if values else None, f"{field}_n": len(values)}
            elif how in ("min", "max"):
                sums[field] = (min if how == "min" else max)(values, default=None)
            else:
                sums[field] = float(any(how in ("any", f"is {value}") for value in values))
        found[key] = sums
    return found


def held(store: Store, table: sa.Table) -> dict[tuple[object, ...], dict[str, float | None]]:
    with store.read() as conn:
        rows = [dict(row) for row in conn.execute(sa.select(table)).mappings()]
    return {(row.pop("center"), row.pop("subject"), row.pop("from_ms")): row for row in rows}


def assert_alike(one: dict[Any, Any], other: dict[Any, Any]) -> None:
    assert one.keys() == other.keys()
    for key, row in one.items():
        assert row == pytest.approx(other[key], nan_ok=True), key


def roll_all(store: Store, now_ms: int) -> int:
    made = 0
    while step := roll(store, now_ms):
        made += step
    return made


def test_sums_of_hours_and_days_are_those_of_their_readings(either_store: Store) -> None:
    scatter(either_store, hours=40)
    assert 30 < roll_all(either_store, HOUR + SETTLE_MS) <= 40
    for kind in KINDS:
        assert_alike(
            held(either_store, schema.hours[kind]), plainly(either_store, kind, lambda at: at // HOUR_MS * HOUR_MS)
        )
        assert_alike(held(either_store, schema.days[kind]), plainly(either_store, kind, day_of))


def test_a_day_begins_at_midnight_in_pakistan() -> None:
    assert day_of(1_795_000_000_000) == 1_794_942_000_000  # 2026-11-17T19:00Z is the 18th, 00:00 there
    assert day_of(1_794_942_000_000 - 1) == 1_794_942_000_000 - DAY_MS


def test_an_hour_is_summed_once_it_is_over_and_settled_and_then_never_for_nothing(either_store: Store) -> None:
    put(either_store, "link", HOUR - 1)
    assert roll(either_store, HOUR + SETTLE_MS - 1) == 0
    assert roll(either_store, HOUR + SETTLE_MS) == 1
    assert roll(either_store, HOUR + SETTLE_MS + 1) == 0
    with either_store.read() as conn:
        assert rolled_until(conn) == HOUR


def test_years_without_a_reading_are_skipped_in_one_step(either_store: Store) -> None:
    put(either_store, "link", 5)  # a clock that had lost its battery
    put(either_store, "link", HOUR - 1)
    assert roll(either_store, HOUR + SETTLE_MS) == 2


def test_what_comes_late_by_the_wire_is_in_the_sums_after_the_next_look(either_store: Store, gateway) -> None:
    ingest = Ingest(either_store, Ed25519PrivateKey.generate(), lambda *_: None)
    mine, now_ms = gateway(either_store), HOUR + SETTLE_MS + 1000
    ingest.take([mine.batch([mine.ups(wall_ms=HOUR - 60_000, load_pct=10.0)])], HOUR - 59_000)
    with either_store.read() as conn:
        assert conn.execute(sa.select(schema.late_hours)).all() == []  # its hour still ran
    assert roll(either_store, now_ms) == 1
    ingest.take([mine.batch([mine.ups(wall_ms=HOUR - 50_000, load_pct=70.0)], live=False)], now_ms)
    assert roll_all(either_store, now_ms) == 1
    (hour,) = held(either_store, schema.hours["ups"]).values()
    (day,) = held(either_store, schema.days["ups"]).values()
    assert (hour["n"], hour["load_pct"], day["n"], day["load_pct"]) == (2, 70.0, 2, 70.0)
    assert roll(either_store, now_ms) == 0


def test_sums_stand_when_their_readings_have_been_dropped(either_store: Store) -> None:
    put(either_store, "link", HOUR - 2, loss_pct=9.0)
    roll_all(either_store, HOUR + SETTLE_MS)
    with either_store.write() as conn:
        conn.execute(sa.delete(schema.readings["link"]))
        upsert(conn, schema.about, [{"name": RAW_FROM, "value": str(HOUR)}])
        upsert(conn, schema.late_hours, [{"hour_ms": HOUR - HOUR_MS, "center": "LHR-1", "marked_ms": 1}])
    put(either_store, "link", HOUR - 1, loss_pct=0.0)  # a straggler from a year ago
    roll_all(either_store, HOUR + SETTLE_MS)
    (row,) = held(either_store, schema.hours["link"]).values()
    assert (row["n"], row["loss_pct"]) == (1, 9.0)


def series(store: Store, kind: str, days: int, points: int, now_ms: int = HOUR, **more: Any) -> dict[str, Any]:
    with store.read() as conn:
        fields = list(schema.FIGURES[kind])
        return queries.series(conn, kind, "LHR-1", now_ms - days * DAY_MS, now_ms, fields, points, **more)


def test_a_week_shows_the_same_with_sums_as_without(either_store: Store) -> None:
    def week() -> dict[tuple[str, str | None], dict[str, Any]]:
        pairs = itertools.product(KINDS, (None, "", "wan2"))
        return {(kind, subject): series(either_store, kind, 7, 1000, subject=subject) for kind, subject in pairs}

    scatter(either_store, hours=40)
    before = week()  # nothing summed: all from readings
    roll_all(either_store, HOUR - 6 * HOUR_MS + SETTLE_MS)
    half = week()
    roll_all(either_store, HOUR + SETTLE_MS)
    after = week()
    assert min(len(shown["t"]) for shown in before.values()) > 20
    assert before == half == after


def test_a_month_of_sums_has_no_more_points_than_asked_and_its_worst(either_store: Store) -> None:
    rows = [{"from_ms": HOUR - n * HOUR_MS, "loss_pct": 77.0 if n == 333 else 0.0} for n in range(1, 24 * 30)]
    known = {"center": "LHR-1", "subject": "", "n": 60}
    with either_store.write() as conn:
        conn.execute(sa.insert(schema.hours["link"]), [known | row for row in rows])
        conn.execute(sa.insert(schema.days["link"]), [known | row for row in rows[::24]])
        upsert(conn, schema.about, [{"name": ROLLED, "value": str(HOUR)}])
    found = series(either_store, "link", 30, 100)
    assert len(found["t"]) <= 100
    assert max(found["loss_pct"]) == 77.0
    assert len(series(either_store, "link", 130, 1000)["t"]) == 30  # months of months are drawn by days
