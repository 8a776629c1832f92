"""The one door to the database: SQLite for a pilot, PostgreSQL for the nation, the same tables and statements on both.

`write()` gives one transaction at a time, in this process and between processes, so a decision may read, think and
write without another slipping in between. `read()` gives a snapshot that refuses to write.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from pysqlite3 import dbapi2 as sqlite3  # Debian 12's own SQLite 3.40 can corrupt a WAL file of two connections
from sqlalchemy.dialects import postgresql, sqlite

from collector.store import schema

VERSION = 1
BUSY_MS = 30_000
FORMS = "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
PRAGMAS = (f"busy_timeout = {BUSY_MS}", "foreign_keys = ON", "journal_mode = WAL", "synchronous = FULL")
WRITERS = 0x6E61627A  # the advisory lock of PostgreSQL that every writer takes ("nabz")

# What a statement raises when the database is gone, locked or full: worth trying again later, unlike a wrong statement.
UNAVAILABLE = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)

Row = Mapping[str, Any]


class StoreError(Exception):
    """The database cannot be used as configured; one sentence with the thing, the rule and the fix."""


class Store:
    """Made by `Store.open`; safe to share between threads."""

    def __init__(self, url: sa.URL) -> None:
        self.url = url
        self._writer = _engine(url, reads_only=False)
        self._reader = _engine(url, reads_only=True)
        self._turn = threading.Lock()

    @classmethod
    def open(cls, url: str) -> Store:
        """A store with all its tables. `url` is ``sqlite:///FILE`` or ``postgresql+psycopg://…``. Raises StoreError."""
        store = cls(_checked(url))
        try:
            with store.write() as conn:
                schema.metadata.create_all(conn)
                _check_version(conn)
                _add_columns(conn)
        except sa.exc.DBAPIError as error:
            store.close()
            why = f"cannot be opened ({error.orig}); check that it exists and is writable"
            raise StoreError(f"database {store}: {why}") from None
        except BaseException:
            store.close()
            raise
        return store

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction, alone; committed at the end of the block, rolled back if it raises."""
        with self._turn, self._writer.begin() as conn:
            if conn.dialect.name == "postgresql":
                conn.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITERS)))
            yield conn

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One snapshot; never waits for writers; a statement that writes raises."""
        with self._reader.begin() as conn:
            yield conn

    def close(self) -> None:
        self._reader.dispose()
        self._writer.dispose()

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)


def upsert(conn: sa.Connection, table: sa.Table, rows: Sequence[Row], newer_by: str | None = None) -> None:
    """Insert `rows` (same keys in each), or replace those columns of the rows that hold the same primary key.

    With `newer_by`, a row is replaced only by one whose value of that column is at least as great.
    """
    if rows:
        conn.execute(_upsert(conn.dialect.name, table, tuple(rows[0]), newer_by), list(rows))


@lru_cache(maxsize=256)
def _upsert(dialect: str, table: sa.Table, columns: tuple[str, ...], newer_by: str | None) -> sa.Insert:
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: insert.excluded[name] for name in columns if name not in keys}
    if not changed:
        return insert.on_conflict_do_nothing(index_elements=keys)
    where = None if newer_by is None else table.c[newer_by] <= insert.excluded[newer_by]
    return insert.on_conflict_do_update(index_elements=keys, set_=changed, where=where)


def _checked(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        raise StoreError(f"database url: not a URL; write {FORMS}") from None
    if url.drivername not in ("sqlite", "postgresql+psycopg") or not url.database:
        raise StoreError(f"database url {url.render_as_string(hide_password=True)}: not known here; write {FORMS}")
    return url


def _check_version(conn: sa.Connection) -> None:
    held = conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == "schema"))
    if held is None:
        conn.execute(sa.insert(schema.about).values(name="schema", value=str(VERSION)))
    elif int(held) != VERSION:
        raise StoreError(f"database: its tables are version {held}, this program knows {VERSION}; install what fits")


def _add_columns(conn: sa.Connection) -> None:
    """The tables of readings follow the wire, whose later minor versions add fields: a database of before gets them."""
    known = sa.inspect(conn)
    for table in schema.readings.values():
        held = {column["name"] for column in known.get_columns(table.name)}
        for column in table.columns:
            if column.name not in held:
                kind = column.type.compile(conn.dialect)
                conn.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}"))
        for index in table.indexes:
            index.create(conn, checkfirst=True)


def _engine(url: sa.URL, *, reads_only: bool) -> sa.Engine:
    size = 8 if reads_only else 1
    if url.drivername != "sqlite":
        options = {"postgresql_readonly": reads_only}
        return sa.create_engine(url, pool_pre_ping=True, pool_size=size, execution_options=options)
    arguments = {"check_same_thread": False, "isolation_level": None, "timeout": BUSY_MS / 1000}
    engine = sa.create_engine(url, module=sqlite3, pool_size=size, connect_args=arguments)

    @sa.event.listens_for(engine, "connect")
    def settle(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in (*PRAGMAS, "query_only = ON") if reads_only else PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()

    # The driver would begin lazily and deferred; a writer must hold the write lock before it reads what it decides on.
    @sa.event.listens_for(engine, "begin")
    def begin(conn: sa.Connection) -> None:
        conn.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    return engine
