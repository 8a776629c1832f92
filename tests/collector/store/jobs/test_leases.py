"""One process at a time does a job; another takes it when its lease ran out, and then the first changes nothing."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from collector.store import Store, schema
from collector.store.jobs import leases, rows, shards
from collector.store.jobs.leases import LEASE_MS, LeaseLost, RunOutcome

NOW = 1_795_000_000_000
NAMES = ["log", "sheets"]
SHARDS = [f"sheets {number}" for number in range(1, 5)]


@pytest.fixture
def store(either_store: Store) -> Store:
    return either_store


@pytest.fixture
def shared(database_url: str, either_store: Store) -> Store:
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite has one writer: nobody takes anything while a transaction runs")
    return either_store


def take(store: Store, holder: str, now_ms: int, names: list[str] = NAMES) -> set[str]:
    with store.aside() as conn:
        return leases.take(conn, names, holder, now_ms)


def test_a_lease_is_one_s_until_it_runs_out_and_is_renewed_by_its_holder(store: Store) -> None:
    assert take(store, "a", NOW) == {"log", "sheets"}
    assert take(store, "b", NOW + 1) == set()
    assert take(store, "a", NOW + LEASE_MS - 1) == {"log", "sheets"}
    assert take(store, "b", NOW + LEASE_MS + 1) == set(), "it was renewed"
    assert take(store, "b", NOW + 2 * LEASE_MS, ["log", "other"]) == {"log", "other"}
    assert take(store, "a", NOW + 2 * LEASE_MS) == {"sheets"}


def test_what_is_released_or_known_to_be_gone_is_free_at_once(store: Store) -> None:
    take(store, "a", NOW)
    with store.aside() as conn:
        leases.release(conn, "a")
    assert take(store, "collector_1", NOW + 1) == {"log", "sheets"}
    with store.aside() as conn:
        leases.end(conn, "collector ")  # the underscore is no joker
    assert take(store, "b", NOW + 2) == set()
    with store.aside() as conn:
        leases.end(conn, "collector")
    assert take(store, "b", NOW + 3) == {"log", "sheets"}


@pytest.mark.parametrize("kind", ["write", "keep"])
def test_who_lost_a_lease_changes_nothing(store: Store, kind: str) -> None:
    take(store, "a", NOW)
    about = schema.about
    with leases.guarding("log", "a"):
        with getattr(store, kind)() as conn:
            conn.execute(sa.insert(about).values(name="first", value="a"))
        assert take(store, "b", NOW + LEASE_MS + 1) == {"log", "sheets"}
        with pytest.raises(LeaseLost, match="job log"), getattr(store, kind)() as conn:
            conn.execute(sa.insert(about).values(name="second", value="a"))
    with store.read() as conn:
        assert set(conn.scalars(sa.select(about.c.name).where(about.c.value == "a"))) == {"first"}
    with getattr(store, kind)() as conn:  # without a job nothing is asked
        conn.execute(sa.insert(about).values(name="second", value="b"))


def test_a_job_is_not_taken_while_a_transaction_of_it_runs(shared: Store) -> None:
    take(shared, "a", NOW)
    begun, may_end = threading.Event(), threading.Event()

    def long() -> None:
        with leases.guarding("log", "a"), shared.keep():
            begun.set()
            may_end.wait(60)

    thread = threading.Thread(target=long)
    thread.start()
    assert begun.wait(60)
    try:
        assert take(shared, "b", NOW + 10 * LEASE_MS) == {"sheets"}
        assert take(shared, "a", NOW + 10 * LEASE_MS) == {"log"}
    finally:
        may_end.set()
        thread.join()
    assert take(shared, "b", NOW + 10 * LEASE_MS) == {"log", "sheets"}


def share(store: Store, holder: str, now_ms: int) -> set[str]:
    with store.aside() as conn:
        leases.present(conn, holder, now_ms)
        return leases.share(conn, SHARDS, holder, now_ms)


def test_shards_are_shared_out_evenly_and_go_to_those_who_are_left(store: Store) -> None:
    assert share(store, "a", NOW) == set(SHARDS)
    assert share(store, "b", NOW + 1) == set(), "the first has not heard of the second yet"
    assert len(share(store, "a", NOW + 2)) == len(share(store, "b", NOW + 3)) == 2
    first, second = share(store, "a", NOW + 4), share(store, "b", NOW + 5)
    assert (first | second, first & second) == (set(SHARDS), set())
    later_ms = NOW + 5 + LEASE_MS
    share(store, "a", later_ms - 1)
    assert share(store, "a", later_ms) == set(SHARDS), "what the silent one had"
    with store.read() as conn:
        assert [row.holder for row in rows.rows(conn, later_ms)] == ["a"]
        assert [row.holder for row in rows.rows(conn, later_ms + LEASE_MS)] == [""]
    with store.aside() as conn:
        leases.release(conn, "a")
    assert share(store, "b", later_ms + 1) == set(SHARDS)


def test_a_shard_in_the_middle_of_a_transaction_is_not_moved(shared: Store) -> None:
    share(shared, "a", NOW)
    begun, may_end = threading.Event(), threading.Event()

    def long() -> None:
        with leases.guarding(SHARDS[-1], "a"), shared.keep():
            begun.set()
            may_end.wait(60)

    thread = threading.Thread(target=long)
    thread.start()
    assert begun.wait(60)
    try:
        share(shared, "b", NOW + 1)
        assert SHARDS[-1] in share(shared, "a", NOW + 2)
        assert SHARDS[-1] not in share(shared, "b", NOW + 3)
    finally:
        may_end.set()
        thread.join()
    share(shared, "a", NOW + 4)
    assert len(share(shared, "b", NOW + 5)) == 2


def test_every_center_is_in_one_shard(either_store: Store) -> None:
    codes = {f"C-{number}" for number in range(60)}
    day = {"day_ms": NOW, "marks": 0}
    with either_store.write() as conn:
        conn.execute(sa.insert(schema.day_sheets), [day | {"center": code} for code in codes])
        d, found = schema.day_sheets.c, list[list[str]]()
        for shard in shards.shards_of(conn.dialect.name):
            found.append(list(conn.scalars(sa.select(d.center).where(*shard.mine(d.center)))))
    assert sorted(code for some in found for code in some) == sorted(codes)
    assert all(found)


def test_how_a_job_goes_is_on_record(store: Store) -> None:
    take(store, "a", NOW)
    with store.aside() as conn:
        leases.record(conn, {"log": RunOutcome(NOW, 12), "sheets": RunOutcome(None, 0, 2, "no room")}, "a")
        leases.record(conn, {"log": RunOutcome(1, 1)}, "b")  # who does not have it has no word in it
        day = {"center": "LHR-1", "marks": 0}
        conn.execute(sa.insert(schema.day_sheets), [day | {"day_ms": NOW - 5}, day | {"day_ms": NOW - 9}])
    with store.read() as conn:
        log, sheets = rows.rows(conn, NOW + 1000)
    assert (log.name, log.holder, log.age_ms, log.took_ms, log.backlog, log.is_good) == ("log", "a", 1000, 12, 0, True)
    assert (sheets.failures, sheets.error, sheets.backlog, sheets.oldest_ms) == (2, "no room", 2, 1009)
    assert not sheets.is_good
    with store.read() as conn:
        assert [row.holder for row in rows.rows(conn, NOW + LEASE_MS)] == ["", ""]
