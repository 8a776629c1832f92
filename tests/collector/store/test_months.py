"""Monthly parts on PostgreSQL, and what is let go of when it is too old, on both databases."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
import sqlalchemy as sa

from collector.store import Store, schema
from collector.store.months import (
    AHEAD,
    DAY_MS,
    Month,
    Part,
    Retention,
    ahead,
    drop_empty,
    forget,
    is_busy,
    parts_of_tables,
    settle,
)

NOW = 1_795_000_000_000  # 2026-11-18


def evidence(received_ms: int) -> dict[str, object]:
    known = {"center": "LHR-1", "device": "g1", "spool": "s", "first_seq": 1, "last_seq": 1, "fresh": json.dumps([])}
    return known | {"received_ms": received_ms, "body": b"{}", "signature": b"s"}


def reading(wall_ms: int) -> dict[str, object]:
    key = {"wall_ms": wall_ms, "center": "LHR-1", "device": "g1", "spool": "s", "seq": wall_ms}
    return key | {"subject": "", "received_ms": NOW}


def put(store: Store, *times_ms: int) -> None:
    with store.write() as conn:
        conn.execute(sa.insert(schema.evidence), [evidence(at) for at in times_ms])
        conn.execute(sa.insert(schema.readings["link"]), [reading(at) for at in times_ms])


def times(store: Store) -> tuple[list[int], list[int]]:
    with store.read() as conn:
        held, raw = schema.evidence.c.received_ms, schema.readings["link"].c.wall_ms
        return sorted(conn.scalars(sa.select(held))), sorted(conn.scalars(sa.select(raw)))


def parts_of(store: Store, table: str) -> dict[str, int]:
    with store.read() as conn:
        query = sa.text(f"SELECT tableoid::regclass::text AS part, count(*) FROM {table} GROUP BY 1")
        return {row.part: row.count for row in conn.execute(query)}


@pytest.mark.parametrize(("at_ms", "suffix"), [(0, "p1970_01"), (NOW, "p2026_11"), (1_798_761_599_999, "p2026_12")])
def test_a_month_is_of_utc_and_meets_the_next(at_ms: int, suffix: str) -> None:
    month = Month.of(at_ms)
    assert month.suffix == suffix
    assert month.from_ms <= at_ms < month.to_ms == month.next.from_ms


def test_parts_are_made_ahead_once_and_rows_that_came_before_move_into_theirs(either_store: Store) -> None:
    put(either_store, NOW, NOW + 40 * DAY_MS, NOW + 4000 * DAY_MS, 7)
    with either_store.keep() as conn:
        made = ahead(conn, NOW)
    with either_store.keep() as conn:
        assert ahead(conn, NOW) == []
    assert len(made) == (len(schema.PARTED) * (AHEAD + 1) if either_store.parted else 0)
    put(either_store, NOW + 1)
    assert times(either_store)[1] == [7, NOW, NOW + 1, NOW + 40 * DAY_MS, NOW + 4000 * DAY_MS]
    if either_store.parted:
        homes = {"link_readings_rest": 2, "link_readings_p2026_11": 2, "link_readings_p2026_12": 1}
        assert parts_of(either_store, "link_readings") == homes
        assert parts_of(either_store, "evidence")["evidence_p2026_11"] == 2


def test_what_is_too_old_goes_and_evidence_stays_longer(either_store: Store) -> None:
    old, older = NOW - 100 * DAY_MS, NOW - 1000 * DAY_MS
    for at_ms in (NOW, old, older):
        with either_store.keep() as conn:
            ahead(conn, at_ms)
    put(either_store, NOW, old, older, 7)
    dropped = forget(either_store, Retention(raw_days=60, hours_days=60, evidence_days=500), NOW)
    assert times(either_store) == ([old, NOW], [NOW])
    assert set(dropped) >= {"link_readings", "evidence"}
    if either_store.parted:  # whole months go at once: their parts are gone, not emptied
        assert set(parts_of(either_store, "link_readings")) == {"link_readings_p2026_11"}
        with either_store.read() as conn:
            assert "link_readings_p2026_08" not in sa.inspect(conn).get_table_names()
    assert forget(either_store, Retention(raw_days=60, hours_days=60, evidence_days=500), NOW) == {}


def test_a_month_goes_only_when_all_of_it_is_too_old(either_store: Store) -> None:
    with either_store.keep() as conn:
        ahead(conn, NOW)
    first, last = Month.of(NOW).from_ms, NOW
    put(either_store, first, last)
    forget(either_store, Retention(raw_days=1), NOW + DAY_MS // 2)
    assert times(either_store)[1] == ([first, last] if either_store.parted else [last])


def test_a_month_that_is_over_gets_an_index_by_center_and_the_running_one_does_not(either_store: Store) -> None:
    for at_ms in (NOW - 40 * DAY_MS, NOW):
        with either_store.keep() as conn:
            ahead(conn, at_ms)
    if either_store.parted:  # one that was broken off while it was built
        either_store.outside("CREATE INDEX link_readings_p2026_10_by_center ON link_readings_p2026_10 (seq)")
        spoil = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'link_readings_p2026_10_by_center'::regclass"
        either_store.outside(spoil)
    made = settle(either_store, NOW)
    assert made == (sorted(f"{t.name}_p2026_10" for t in schema.readings.values()) if either_store.parted else [])
    assert settle(either_store, NOW) == []
    if either_store.parted:
        with either_store.read() as conn:
            held = sa.inspect(conn).get_indexes("link_readings_p2026_10")
            assert ["center", "wall_ms"] in [entry["column_names"] for entry in held]
            assert sa.inspect(conn).get_indexes("link_readings_p2026_11") == []


def test_nothing_is_let_go_where_all_is_kept_for_ever(either_store: Store) -> None:
    put(either_store, 7, NOW)
    assert forget(either_store, Retention(), NOW) == {}
    assert times(either_store) == ([7, NOW], [7, NOW])


def test_many_rows_go_in_small_batches(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn:
        conn.execute(sa.insert(schema.readings["link"]), [reading(n) for n in range(12_345)])
    assert forget(sqlite_store, Retention(raw_days=1), NOW) == {"link_readings": 12_345}


DAILY = ("evidence", "link_readings")


def days_of(store: Store, table: str) -> list[str]:
    with store.read() as conn:
        return sorted(one.suffix for one in parts_of_tables(conn)[table])


@pytest.fixture
def parted(either_store: Store) -> Store:
    if not either_store.parted:
        pytest.skip("SQLite has no parts")
    return either_store


def test_where_the_archive_takes_days_away_parts_are_of_days_once_the_month_is_over(parted: Store) -> None:
    with parted.keep() as conn:
        ahead(conn, NOW)
    put(parted, NOW)
    with parted.keep() as conn:
        assert ahead(conn, NOW, DAILY) == [], "this month is there, and the next ones are not needed yet"
    assert days_of(parted, "link_readings") == ["p2026_11"]
    assert days_of(parted, "ups_readings") == ["p2026_11", "p2026_12", "p2027_01"]
    later_ms = Month.of(NOW).to_ms - DAY_MS
    put(parted, later_ms + 2 * DAY_MS)
    with parted.keep() as conn:
        made = ahead(conn, later_ms, DAILY)
    assert made[:3] == ["evidence_p2026_12_01", "evidence_p2026_12_02", "evidence_p2026_12_03"]
    assert parts_of(parted, "evidence")["evidence_p2026_12_02"] == 1, "it lay in the rest"
    with parted.keep() as conn:  # the archive is switched off
        assert "link_readings_p2027_01" not in ahead(conn, later_ms + 2 * DAY_MS)
    assert days_of(parted, "link_readings")[-1] == "p2026_12_05"


def test_a_day_that_is_over_and_empty_is_dropped_whole_and_what_comes_late_has_a_home(parted: Store) -> None:
    with parted.keep() as conn:
        ahead(conn, NOW, DAILY)
    first_ms = Part.of_day(NOW).from_ms
    put(parted, first_ms, first_ms + DAY_MS)
    with parted.write() as conn:
        conn.execute(sa.delete(schema.evidence).where(schema.evidence.c.received_ms == first_ms))
    dropped = drop_empty(parted, first_ms + 2 * DAY_MS)
    assert dropped == ["evidence_p2026_11_18"], "of the readings something is left"
    assert drop_empty(parted, first_ms + 2 * DAY_MS) == []
    put(parted, first_ms + 5)
    assert parts_of(parted, "evidence") == {"evidence_rest": 1, "evidence_p2026_11_19": 1}


def test_a_day_is_not_dropped_while_somebody_reads_it_nor_when_something_has_just_come(parted: Store) -> None:
    with parted.keep() as conn:
        ahead(conn, NOW, DAILY)
    first_ms = Part.of_day(NOW).from_ms
    with parted.write(beside=True) as conn:
        conn.execute(sa.insert(schema.evidence), [evidence(first_ms)])
        with (
            pytest.raises(sa.exc.OperationalError) as caught,
            closing(Store.attach(parted.url.render_as_string(hide_password=False))) as other,
        ):
            drop_empty(other, first_ms + 1 + DAY_MS)
        assert is_busy(caught.value)
    assert "evidence_p2026_11_18" not in drop_empty(parted, first_ms + 1 + DAY_MS)
    assert times(parted)[0] == [first_ms]
