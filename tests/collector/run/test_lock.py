"""One collector for a data folder and a database; who holds them is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.common.config import CollectorTable, DatabaseSection, Settings
from collector.run.lock import LOCK, DatabaseLock, folder_lock
from collector.store import SERVERS, Store, StoreError

pytestmark = pytest.mark.row(52)


def settings_at(folder: Path, database: Path | None = None) -> Settings:
    url = f"sqlite:///{database}" if database else ""
    return Settings(collector=CollectorTable(data_dir=folder), database=DatabaseSection(url=url))


def test_a_folder_has_one_collector_and_the_error_says_which(tmp_path: Path) -> None:
    held = rf"in use by the collector with process id {os.getpid()} on .*stop that"
    with folder_lock(settings_at(tmp_path)), pytest.raises(StoreError, match=held), ExitStack() as second:
        second.enter_context(folder_lock(settings_at(tmp_path)))
    with folder_lock(settings_at(tmp_path)):
        pass


def test_two_folders_cannot_share_a_database_file(tmp_path: Path) -> None:
    database = tmp_path / "shared" / "nabz.db"
    database.parent.mkdir()
    other = settings_at(tmp_path / "b", database)
    with (
        folder_lock(settings_at(tmp_path / "a", database)),
        pytest.raises(StoreError, match="in use by the collector"),
        ExitStack() as second,
    ):
        second.enter_context(folder_lock(other))


def test_a_killed_process_leaves_no_lock_and_garbage_in_the_file_names_nobody(tmp_path: Path) -> None:
    code = (
        "import fcntl, os, sys, time; f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); fcntl.flock(f, fcntl.LOCK_EX); "
        "os.write(f, b'\\xff{'); print(flush=True); time.sleep(600)"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / LOCK)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreError, match="in use by another collector; stop that one"), ExitStack() as stack:
            stack.enter_context(folder_lock(settings_at(tmp_path)))
        other.send_signal(signal.SIGKILL)
    with folder_lock(settings_at(tmp_path)):
        pass


@pytest.fixture
def shared(either_store: Store) -> Store:
    return either_store


ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # a file is locked by its folder


@ON_POSTGRESQL
def test_a_postgresql_serves_one_collector(shared: Store) -> None:
    first, second = DatabaseLock(shared.url), DatabaseLock(shared.url, wait_s=0.3)
    first.start()
    try:
        with pytest.raises(StoreError, match=rf"is served by nabz-collector {os.getpid()} on .*; stop that one"):
            second.start()
    finally:
        second.stop()
        first.stop()
    third = DatabaseLock(shared.url)
    third.start()
    third.stop()


@ON_POSTGRESQL
def test_a_lost_connection_is_made_again_or_the_collector_ends(shared: Store) -> None:
    first = DatabaseLock(shared.url, look_s=0.05)
    first.start()
    try:
        end_all(shared)
        wait_for(lambda: holders(shared) == 1)
        assert first.is_alive()
        other = DatabaseLock(shared.url, look_s=60)
        thief = threading.Thread(target=other.start)  # waits for its chance
        thief.start()
        while other._conn is None:
            end_of(shared, first)  # and of nobody else: the thief must keep what it has got
            time.sleep(0.01)
        wait_for(lambda: not first.is_alive())
        thief.join()
        other.stop()
    finally:
        first.stop()


HELD = "FROM pg_locks WHERE locktype = 'advisory' AND objid = :number AND granted AND database = (SELECT oid FROM " \
    "pg_database WHERE datname = current_database())"  # fmt: skip


def holders(store: Store) -> int:
    with store.read() as conn:
        return int(conn.scalar(sa.text(f"SELECT count(*) {HELD}"), {"number": SERVERS}) or 0)


def end_of(store: Store, lock: DatabaseLock) -> None:
    if (held := lock._conn) is not None and (raw := held.connection.driver_connection) is not None:
        with store.read() as conn:
            conn.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": raw.info.backend_pid})


def end_all(store: Store) -> None:
    with store.read() as conn:
        conn.execute(sa.text(f"SELECT pg_terminate_backend(pid) {HELD}"), {"number": SERVERS})


def wait_for(true: object) -> None:
    until_s = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert time.monotonic() < until_s
        time.sleep(0.02)
