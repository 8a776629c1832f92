"""The store: the same promises on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.store import Store, StoreError, schema, sqlite3, upsert


def latest(wall_ms: int, body: str) -> dict[str, object]:
    key = {"center": "LHR-1", "kind": "ups", "subject": ""}
    return {**key, "device": "g1", "wall_ms": wall_ms, "received_ms": 1, "body": body}


def bodies(store: Store) -> list[str]:
    with store.read() as conn:
        return list(conn.scalars(sa.select(schema.latest.c.body)))


def count_up(url: str, times: int) -> None:
    store = Store.open(url)
    for _ in range(times):
        with store.write() as conn:
            held = conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == "count")) or "0"
            upsert(conn, schema.about, [{"name": "count", "value": str(int(held) + 1)}])
    store.close()


def test_what_is_written_can_be_read(either_store: Store) -> None:
    with either_store.write() as conn:
        upsert(conn, schema.latest, [latest(1, "first")])
    assert bodies(either_store) == ["first"]


def test_nothing_of_a_write_that_raises_remains(either_store: Store) -> None:
    def write_and_fail() -> None:
        with either_store.write() as conn:
            upsert(conn, schema.latest, [latest(1, "first")])
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_and_fail()
    assert bodies(either_store) == []


def test_who_reads_cannot_write(either_store: Store) -> None:
    with pytest.raises(sa.exc.DBAPIError), either_store.read() as conn:
        upsert(conn, schema.latest, [latest(1, "first")])
    assert bodies(either_store) == []


def test_a_reader_sees_one_moment_and_does_not_wait_for_a_writer(either_store: Store) -> None:
    with either_store.write() as conn:
        upsert(conn, schema.latest, [latest(1, "first")])
        assert bodies(either_store) == []
    assert bodies(either_store) == ["first"]


def test_upsert_replaces_the_row_of_the_same_key(either_store: Store) -> None:
    with either_store.write() as conn:
        upsert(conn, schema.latest, [latest(2, "first")])
        upsert(conn, schema.latest, [latest(1, "second")])
    assert bodies(either_store) == ["second"]


@pytest.mark.parametrize(("wall_ms", "kept"), [(1, "first"), (2, "second"), (3, "second")])
def test_upsert_by_newer_keeps_the_newer_row(either_store: Store, wall_ms: int, kept: str) -> None:
    with either_store.write() as conn:
        upsert(conn, schema.latest, [latest(2, "first")], newer_by="wall_ms")
        upsert(conn, schema.latest, [latest(wall_ms, "second")], newer_by="wall_ms")
    assert bodies(either_store) == [kept]


def test_upsert_of_nothing_does_nothing(either_store: Store) -> None:
    with either_store.write() as conn:
        upsert(conn, schema.latest, [])
    assert bodies(either_store) == []


def test_writers_of_threads_and_processes_take_turns(either_store: Store, database_url: str) -> None:
    # Each reads a number and writes it back plus one: any two at once would lose one.
    threads = [threading.Thread(target=count_up, args=(database_url, 20)) for _ in range(2)]
    process = multiprocessing.get_context("spawn").Process(target=count_up, args=(database_url, 20))
    workers = [process, *threads]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    with either_store.read() as conn:
        assert conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == "count")) == "60"


def test_opening_again_keeps_what_is_there(either_store: Store, database_url: str) -> None:
    with either_store.write() as conn:
        upsert(conn, schema.latest, [latest(1, "first")])
    again = Store.open(database_url)
    assert bodies(again) == ["first"]
    again.close()


def test_every_kind_of_reading_has_a_table_in_time_order() -> None:
    for kind, table in schema.readings.items():
        assert next(iter(table.primary_key)).name == "wall_ms", kind


def test_sqlite_is_durable_and_new_enough(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = [conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert found == ["wal", 2, 1, 30_000]
    assert sqlite3.sqlite_version_info >= (3, 51, 3)  # before it, two connections could corrupt a WAL file


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://root@localhost/x", "sqlite://", "postgresql://u@h/db"])
def test_a_url_that_is_not_known_is_refused_with_the_forms(url: str) -> None:
    with pytest.raises(StoreError, match="write sqlite:///FILE or postgresql"):
        Store.open(url)


def test_a_database_that_cannot_be_opened_is_one_sentence_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(f"sqlite:///{tmp_path}/absent/nabz.db")
    with pytest.raises(StoreError) as refused:
        Store.open("mysql://root:hunter2@localhost/x")
    assert "hunter2" not in str(refused.value)


# ---------------------------------------------------------------- what is open


def open_below(folder: Path) -> list[str]:
    """Files of the folder that this process holds open."""
    held = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            held.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in held if Path(path).is_relative_to(folder)]


def test_a_database_that_cannot_be_opened_is_not_left_open(tmp_path: Path) -> None:
    (tmp_path / "nabz.db").write_bytes(b"no database at all " * 1000)
    with pytest.raises(StoreError) as caught:
        Store.open(f"sqlite:///{tmp_path / 'nabz.db'}")
    assert open_below(tmp_path) == []
    assert "not a database" in str(caught.value)


def test_who_reads_or_writes_while_the_store_is_closed_goes_on_and_leaves_nothing_open(tmp_path: Path) -> None:
    """A page may still be made in a thread that the web server has given up."""
    store = Store.open(f"sqlite:///{tmp_path / 'nabz.db'}")
    with store.read() as reading, store.write() as writing:
        store.close()
        upsert(writing, schema.latest, [latest(1, "first")])
        assert reading.scalar(sa.select(sa.func.count()).select_from(schema.latest)) == 0
    assert bodies(store) == ["first"]
    assert open_below(tmp_path) == []
