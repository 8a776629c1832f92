"""Copies of the whole database: SQLite's online backup, PostgreSQL's `pg_dump` and `pg_restore` in custom format.

Both may run while the collector does: a copy is of one moment.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import sqlalchemy as sa
from pysqlite3 import dbapi2 as sqlite3

from agent.common.errors import describe
from collector.store import EPOCH, PREPARE, Store, StoreError, migrate, reach, schema

PAGES = 2_000  # of SQLite at a time
TIMELINE = "timeline"  # in `about`: which of PostgreSQL's it was at the last start
DUMP, FILE = b"PGDMP", b"SQLite format 3\0"

Progress = Callable[[float], None]
"""Told the share that is done, from 0 to 1; not told at all where a tool does the work."""


def quiet(_share: float) -> None:
    """No progress is wanted."""


def within(progress: Progress, first: float, last: float) -> Progress:
    """Of a part of the work, which is that much of the whole."""
    return lambda share: progress(first + (last - first) * share)


def backup(store: Store, to: Path, progress: Progress = quiet, snapshot: str = "") -> int:
    """Writes a copy and checks that it can be read; returns its bytes. `snapshot` is one that a transaction of
    PostgreSQL has exported. Raises StoreError; leaves no half file."""
    if to.exists():
        raise StoreError(f"{to}: exists already and is not overwritten; name a new file")
    part = to.with_name(to.name + ".part")
    part.unlink(missing_ok=True)
    try:
        if store.parted:
            words = [f"--snapshot={snapshot}"] if snapshot else []
            _run("pg_dump", store.url, "--format=custom", "--compress=1", *words, "--file", str(part))
            _run("pg_restore", None, "--list", str(part))
        else:
            _copy_sqlite(Path(store.url.database or ""), part, progress)
        _sync(part)
        part.rename(to)
    except OSError as error:
        raise StoreError(f"{to}: cannot be written ({describe(error)}); name a place with room") from None
    finally:
        part.unlink(missing_ok=True)
    return to.stat().st_size


def restore(store: Store, source: Path, progress: Progress = quiet) -> None:
    """Fills an empty database from a copy, all of it or nothing. `store` is attached, not opened. Raises StoreError."""
    start = _starts(source)
    is_dump = start.startswith(DUMP)
    if not (is_dump or start.startswith(FILE)):
        raise StoreError(f"{source}: is no copy of a database; name one that `backup` made")
    if is_dump != store.parted:
        kinds = "PostgreSQL" if is_dump else "SQLite", "PostgreSQL" if store.parted else "SQLite"
        raise StoreError(f"{source}: is a copy of {kinds[0]}, the database is {kinds[1]}; use `nabz-collector move`")
    with store.read() as conn:
        if migrate.version(conn) is not None:
            raise StoreError(f"database {store}: is not empty; name an empty one, a copy never overwrites")
    if is_dump:
        _run("pg_restore", store.url, "--exit-on-error", "--single-transaction", "--no-owner", str(source))
        return
    _check_sqlite(source)
    store.close()
    to = Path(store.url.database or "")
    part = to.with_name(to.name + ".part")
    try:
        _copy_sqlite(source, part, progress)
        _sync(part)
        for leftover in (to.with_name(to.name + "-wal"), to.with_name(to.name + "-shm")):
            leftover.unlink(missing_ok=True)
        part.rename(to)
    except OSError as error:
        raise StoreError(f"{to}: cannot be written ({describe(error)}); make room or name another place") from None
    finally:
        part.unlink(missing_ok=True)


def rescue(store: Store, now_ms: int, progress: Progress = quiet) -> Path | None:
    """A copy of an SQLite database whose file was deleted, made of the file that this process still has open; it lies
    where that was, or above a folder that went with it. None if it was not deleted. Raises StoreError."""
    file = Path(store.url.database or "")
    file = file.parent.resolve() / file.name
    if not _is_deleted(file):
        return None
    folder = file.parent if file.parent.exists() else file.parent.parent
    to = folder / f"{file.name}.rescued-{now_ms}"
    try:
        with store.open_writer() as old, closing(sqlite3.connect(to)) as new:
            old.backup(new, pages=PAGES, progress=lambda _status, left, total: progress(1 - left / max(1, total)))
        _sync(to)
    except (OSError, sqlite3.Error) as error:
        to.unlink(missing_ok=True)
        raise StoreError(f"{to}: cannot be written ({describe(error)}); take a backup") from None
    return to


def _is_deleted(file: Path) -> bool:
    """Whether this process has it open without a name. Linux tells; elsewhere never."""
    open_files = Path("/proc/self/fd")
    for entry in open_files.iterdir() if open_files.exists() else ():
        with suppress(OSError):
            if os.readlink(entry) == f"{file} (deleted)":
                return True
    return False


def begin_epoch(store: Store, now_ms: int) -> str:
    """Marks a restored database: gateways bring again what it lacks, and what none of them has is our loss (design
    P10). `store` is attached. Nothing is lost between a copy and the database it was made of that a gateway did not
    send in between: that time is on record. Returns the epoch; "" in tables of before, which a migration marks."""
    with store.write() as conn:
        if not sa.inspect(conn).has_table(schema.restores.name):
            return ""
        epoch, about = secrets.token_hex(16), schema.about
        newest_ms = conn.scalar(sa.select(sa.func.max(schema.pulse.c.heard_ms)))
        conn.execute(sa.update(about).where(about.c.name == EPOCH).values(value=epoch))
        conn.execute(sa.delete(about).where(about.c.name == TIMELINE))  # of the server that was copied
        from_ms = now_ms if newest_ms is None else newest_ms
        conn.execute(sa.insert(schema.restores).values(epoch=epoch, from_ms=from_ms, to_ms=now_ms))
        if sa.inspect(conn).has_table(schema.sessions.name):  # one that was ended since the copy must not come back
            conn.execute(sa.delete(schema.sessions))
    return epoch


def _starts(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({describe(error)}); name a copy that `backup` made") from None


def _copy_sqlite(source: Path, to: Path, progress: Progress) -> None:
    def report(_status: int, left: int, total: int) -> None:
        progress(1 - left / max(1, total))

    try:
        with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old, closing(sqlite3.connect(to)) as new:
            old.backup(new, pages=PAGES, progress=report)
        _check_sqlite(to)
    except sqlite3.Error as error:
        raise StoreError(f"{source}: cannot be copied to {to} ({describe(error)}); look at both") from None


def _check_sqlite(path: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            (result,) = file.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: is not a whole SQLite database ({describe(error)}); take another copy") from None
    if result != "ok":
        raise StoreError(f"{path}: is damaged ({result}); take another copy")


def _run(tool: str, url: sa.URL | None, *words: str) -> None:
    """One of PostgreSQL's own tools; its password goes by the environment, where `ps` does not show it."""
    if shutil.which(tool) is None:
        raise StoreError(f"{tool}: is not found; install PostgreSQL's client programs (Debian: postgresql-client)")
    argv: Sequence[str] = [tool, *words]
    environment = dict(os.environ)
    if url is not None:
        if url.password:
            environment["PGPASSWORD"] = str(url.password)
        more = {name: str(value) for name, value in reach(url).items() if name not in ("options", PREPARE)}
        plain = url.difference_update_query([PREPARE]).set(drivername="postgresql", password=None)
        where = plain.update_query_dict(more).render_as_string()
        argv = [tool, "--dbname", where, *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise StoreError(f"{tool}: {lines[0]}; correct that and run it again")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
