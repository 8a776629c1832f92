"""The one way to the database: SQLite for a pilot, PostgreSQL for the nation, the same tables and statements on both.

`write()` gives one transaction at a time, in this process and between processes, so a decision may read, think and
write without another slipping in between. On PostgreSQL `write(beside=True)` gives one that others of its kind run
beside; it must `claim` the centers it decides about. `read()` gives a snapshot that refuses to write.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from pysqlite3 import dbapi2 as sqlite3

from agent.common.errors import describe
from collector.store import migrate, schema, warm
from collector.store.cold.bucket import Bucket
from collector.store.jobs import leases
from collector.store.journal import MARKS, Journal, JournalError
from collector.store.sql import engines
from collector.store.sql.engines import PREPARE, UNAVAILABLE, StoreError, reach, single
from collector.store.sql.fair_lock import FairLock
from collector.store.sql.statements import WRITERS, bulk_insert, claim, upsert

__all__ = [
    "ARCHIVE",
    "DECISIONS",
    "DESK",
    "EPOCH",
    "JUMPS",
    "MOVING",
    "NEWS",
    "PREPARE",
    "SERVERS",
    "UNAVAILABLE",
    "NeedsMigration",
    "Store",
    "StoreError",
    "archive",
    "attachment_bytes",
    "backup",
    "bulk_insert",
    "center_states",
    "claim",
    "cold",
    "columns",
    "database",
    "jobs",
    "journal",
    "migrate",
    "months",
    "move",
    "nonces",
    "queries",
    "quotas",
    "reach",
    "roles",
    "rollups",
    "schema",
    "single",
    "sqlite3",
    "upsert",
    "warm",
]

KEEPERS = WRITERS + 1  # the one that housekeeping takes: it runs beside writers, but once only
SERVERS = WRITERS + 2  # the one that a running collector holds with a connection of its own
DESK = WRITERS + 3  # the one of whoever changes incidents: those of many centers are everybody's
JUMPS = WRITERS + 4  # the one of whoever puts a jump of the collector's clock on record

NEWS = "news"  # of a connection: its transaction has something that people are to be told of; PostgreSQL's channel
EPOCH = "epoch"  # in `about`
DECISIONS = "decisions"  # in `about`: how many the journal had once, as gateways have shown
MOVING = "moving"  # in `about` while a move is under way
ARCHIVE = "archive"  # of a connection: the folder of its database's archive, if it is known


class NeedsMigration(StoreError):
    """The tables are of an older program."""


class Store:
    """Made by `Store.open`; safe to share between threads."""

    def __init__(self, url: sa.URL) -> None:
        self.url = url
        self.epoch = ""  # known once it is open
        self.journal: Journal | None = None  # where this machine has the collector's key
        self.archive: Path | Bucket | None = None  # the folder of what is archived
        self.on_news: Callable[[], None] = lambda: None  # after the commit of what people are to be told of
        self._closed = False
        self._writer = self._engine(reads_only=False)
        self._reader = self._engine(reads_only=True)
        self._turn = FairLock()

    @classmethod
    def open(cls, url: str) -> Store:
        """A store with all its tables, made when there are none. `url` is ``sqlite:///FILE`` or
        ``postgresql+psycopg://…``. Raises NeedsMigration for tables of an older program, StoreError otherwise."""
        store = cls.attach(url)
        try:
            with store.read() as conn:
                held = migrate.version(conn)
            if held is None:
                held = store._found()
            _check_version(store, held)
            with store.read() as conn:
                _check_whole(conn)
            store.learn_epoch()
        except sa.exc.DBAPIError as error:
            store.close()
            why = f"cannot be opened ({error.orig}); check that it exists and is writable"
            raise StoreError(f"database {store}: {why}") from None
        except BaseException:
            store.close()
            raise
        return store

    def _found(self) -> str:
        """Makes the tables of an empty database; returns their version."""
        with self.write() as conn:
            if (held := migrate.version(conn)) is None:
                schema.metadata.create_all(conn)
                migrate.stamp(conn)
                known = {EPOCH: secrets.token_hex(16), DECISIONS: "0"}
                conn.execute(sa.insert(schema.about), [{"name": key, "value": text} for key, text in known.items()])
            return held if held is not None else migrate.HEAD

    @classmethod
    def attach(cls, url: str) -> Store:
        """A store as it is, of whatever version: for migrations. Raises StoreError for what is no URL."""
        return cls(engines.checked(url))

    @property
    def parted(self) -> bool:
        """PostgreSQL: the big tables are in monthly parts, and writers may run beside each other."""
        return self.url.drivername != "sqlite"

    @contextmanager
    def write(self, *, beside: bool = False, memory: warm.Warm | None = None) -> Iterator[sa.Connection]:
        """One transaction, alone; committed at the end of the block, rolled back if it raises.

        `beside` others that say so too, on PostgreSQL; SQLite has but one writer. `memory`: what it recalls.
        """
        with self._turn, warm.kept(memory) as changes, self._writer.begin() as conn:
            conn.info.pop(MARKS, None)  # of a transaction that was rolled back
            conn.info.pop(NEWS, None)
            warm.attach(conn, changes, memory)
            if self.parted:
                lock = sa.func.pg_advisory_xact_lock_shared if beside else sa.func.pg_advisory_xact_lock
                conn.execute(sa.select(lock(WRITERS)))
            leases.check(conn)
            yield conn
            if (marks := conn.info.pop(MARKS, ())) and self.journal is not None:
                _keep(self.journal, conn, marks)
            warm.mark(conn)
            is_news = conn.info.pop(NEWS, False)
            if is_news and self.parted:
                conn.exec_driver_sql(f"NOTIFY {NEWS}")  # told after the commit, to every process that listens
        if is_news:
            self.on_news()

    @contextmanager
    def keep(self) -> Iterator[sa.Connection]:
        """One transaction of housekeeping: beside writers on PostgreSQL, never beside another housekeeper."""
        with self._turn, self._writer.begin() as conn:
            warm.attach(conn, warm.Changes())
            if self.parted:
                conn.execute(sa.select(sa.func.pg_advisory_xact_lock(KEEPERS)))
            leases.check(conn)
            yield conn
            warm.mark(conn)

    @contextmanager
    def aside(self) -> Iterator[sa.Connection]:
        """One transaction that waits for no other of this process: of rows of which nothing else is made."""
        with self._writer.begin() as conn:
            warm.attach(conn, warm.Changes())
            yield conn

    def outside(self, statement: str) -> None:
        """One statement that PostgreSQL wants outside of any transaction."""
        with self._turn, self._writer.connect() as conn:
            conn.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text(statement))

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One snapshot; never waits for writers; a statement that writes raises."""
        with self._reader.begin() as conn:
            yield conn

    def learn_epoch(self) -> None:
        """After somebody else has begun another."""
        with self.read() as conn:
            self.epoch = str(conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == EPOCH)) or "")

    def checkpoint(self) -> None:
        """Moves what SQLite's log holds into the database's file, even if that has another name by now."""
        with self.open_writer() as connection:
            connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()

    @contextmanager
    def open_writer(self) -> Iterator[sqlite3.Connection]:
        """SQLite's connection that writes, which has the file open whatever became of its name."""
        with self._turn, closing(self._writer.raw_connection()) as raw:
            yield cast(sqlite3.Connection, raw.driver_connection)

    def close(self) -> None:
        """At once; a connection that somebody still holds is closed when it is given back."""
        self._closed = True
        self._reader.dispose()
        self._writer.dispose()

    def _engine(self, *, reads_only: bool) -> sa.Engine:
        engine = engines.engine(self.url, reads_only=reads_only)
        if not reads_only:
            warm.watch(engine)

        @sa.event.listens_for(engine, "checkout")
        def name_archive(_connection: object, record: sa.pool.ConnectionPoolEntry, _proxy: object) -> None:
            record.info[ARCHIVE] = self.archive

        @sa.event.listens_for(engine, "checkin")
        def close_after(_connection: object, record: sa.pool.ConnectionPoolEntry) -> None:
            if self._closed:
                record.close()

        return engine

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)


def _keep(journal: Journal, conn: sa.Connection, marks: Sequence[tuple[str, tuple[object, ...]]]) -> None:
    try:
        journal.keep(conn, marks)
    except JournalError as error:
        raise StoreError(str(error)) from None
    except OSError as error:
        raise StoreError(f"the journal of decisions cannot be written ({describe(error)}); make room for it") from None


def _check_version(store: Store, held: str) -> None:
    if held > migrate.HEAD:
        raise StoreError(
            f"database {store}: its tables are version {held}, this program knows {migrate.HEAD}; update it"
        )
    if held < migrate.HEAD:
        problem = f"its tables are version {held or 'of before'}, this program needs {migrate.HEAD}"
        raise NeedsMigration(f"database {store}: {problem}; stop what writes to it and run `nabz-collector migrate`")


def _check_whole(conn: sa.Connection) -> None:
    """A database into which `move` has not finished is not all there. Raises StoreError."""
    moving = conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == MOVING))
    if moving is not None:
        raise StoreError(f"database: a move into it from {moving} was broken off; run `nabz-collector move` again")
