"""One collector for a data folder, and one for a database: two would put each other's sessions out at the broker.

The kernel keeps the lock on the folder (flock(2)) and lets it go with the process, however that ends; PostgreSQL keeps
the one on the database with a connection.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from agent.common.errors import describe, printable
from agent.common.logs import Event
from agent.common.threads import join_started
from collector.common.config import Settings
from collector.store import SERVERS, UNAVAILABLE, StoreError, single
from collector.store.database import database_file, make_data_dir

TAKEN = Event(
    __name__, "critical", "database_taken", "another collector serves this database now; this one stops",
    fields="holder",
)  # fmt: skip

LOCK = "collector.lock"
WAIT_S = 20.0  # PostgreSQL may need as long to notice that a killed collector's connection is gone
LOOK_S = 5.0
FIX = "stop that one first, or name another folder"


@contextmanager
def folder_lock(settings: Settings) -> Iterator[None]:
    """Holds the data folder, and the file of an SQLite database elsewhere. Raises StoreError naming the holder."""
    make_data_dir(settings)
    with ExitStack() as stack:
        for path in lock_files(settings):
            stack.enter_context(_held(path))
        yield


def lock_files(settings: Settings) -> list[Path]:
    """Whoever deletes one lets a second collector in, so they are watched as the data are."""
    paths = [settings.data_dir / LOCK]
    file = database_file(settings.database_url)
    if file is not None and file.parent.resolve() != settings.data_dir.resolve():
        paths.append(file.with_name(f"{file.name}.lock"))
    return paths


@contextmanager
def _held(path: Path) -> Iterator[None]:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: cannot be made ({describe(error)}); check its folder's owner and space") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"{path.parent}: is in use by {_holder(lock)}; {FIX}") from None
        about = {"pid": os.getpid(), "host": socket.gethostname(), "since_ms": time.time_ns() // 1_000_000}
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(about).encode(), 0)
        yield
    finally:
        os.close(lock)


def _holder(lock: int) -> str:
    try:
        about = json.loads(os.pread(lock, 1000, 0))
        return f"the collector with process id {int(about['pid'])} on {str(about['host'])[:100]}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another collector"


class DatabaseLock:
    """A PostgreSQL that one collector serves. A connection that is lost takes the lock with it: it is taken again, and
    where another collector was quicker, this one ends."""

    def __init__(self, url: str | sa.URL, wait_s: float = WAIT_S, look_s: float = LOOK_S) -> None:
        """`url` is of the database itself, not of a pool before it."""
        self._wait_s, self._look_s = wait_s, look_s
        name = f"nabz-collector {os.getpid()} on {printable(socket.gethostname(), 30)}"
        self._engine = single(sa.make_url(url), name)
        self._conn: sa.Connection | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="database lock", daemon=True)

    def start(self) -> None:
        """Raises StoreError naming the holder."""
        until_s = time.monotonic() + self._wait_s
        while holder := self._take():
            if time.monotonic() >= until_s:
                raise StoreError(f"database {self._engine.url}: is served by {holder}; {FIX}")
            time.sleep(0.2)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        join_started(self._thread)
        self._release()
        self._engine.dispose()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _keep(self) -> None:
        while not self._stopped.wait(self._look_s):
            try:
                if self._conn is None and (holder := self._take()):
                    TAKEN.log(holder=holder)
                    return
                if self._conn is not None:
                    self._conn.execute(sa.select(1))
            except UNAVAILABLE:
                self._release()

    def _take(self) -> str:
        """Empty once the lock is held; else who holds it."""
        with ExitStack() as stack:
            conn = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            stack.callback(conn.close)
            if conn.scalar(sa.select(sa.func.pg_try_advisory_lock(SERVERS))):
                stack.pop_all()
                self._conn = conn
                return ""
            return str(conn.scalar(_HOLDER, {"number": SERVERS}) or "another collector")

    def _release(self) -> None:
        if self._conn is not None:
            with suppress(*UNAVAILABLE):
                self._conn.close()
            self._conn = None


# An advisory lock of one 64-bit number stands in pg_locks as its two halves.
_HOLDER = sa.text(
    """
    SELECT coalesce(nullif(a.application_name, ''), 'process ' || a.pid) || coalesce(' at ' || host(a.client_addr), '')
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = :number AND l.objsubid = 1 LIMIT 1
    """
)
