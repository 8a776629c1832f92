"""The one way to the database: SQLite for a pilot, PostgreSQL for the nation, the same tables and statements on both.

`write()` gives one transaction at a time, in this process and between processes, so a decision may read, think and
write without another slipping in between. On PostgreSQL `write(beside=True)` gives one that others of its kind run
beside; it must `claim` the centers it decides about. `read()` gives a snapshot that refuses to write.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from pysqlite3 import dbapi2 as sqlite3  # Debian 12's own SQLite 3.40 can corrupt a WAL file of two connections
from sqlalchemy.dialects import postgresql, sqlite

from agent.common.errors import describe
from collector.store import migrate, schema, warm
from collector.store.cold.bucket import Bucket
from collector.store.fair_lock import FairLock
from collector.store.jobs import leases
from collector.store.journal import MARKS, Journal, JournalError

__all__ = [
    "ARCHIVE",
    "DECISIONS",
    "DESK",
    "EPOCH",
    "MOVING",
    "NEWS",
    "PREPARE",
    "SERVERS",
    "UNAVAILABLE",
    "NeedsMigration",
    "Store",
    "StoreError",
    "archive",
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

BUSY_MS = 30_000
FORMS = "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME, with several hosts …//USER@/NAME?host=A,B,C"
REACH = {
    "connect_timeout": 3,  # s, of each host
    "keepalives_idle": 5,  # s
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # ms
    # What a machine that died had locked is free again then. PgBouncer has to be told to pass over `options`.
    "options": "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}
PREPARE = "prepare_threshold"  # in the URL of a PgBouncer, as `none`: what is prepared is of a session
PRAGMAS = (f"busy_timeout = {BUSY_MS}", "foreign_keys = ON", "journal_mode = WAL", "synchronous = FULL")
WRITERS = 0x6E61627A  # the advisory lock of PostgreSQL that every writer takes ("nabz"); those beside others share it
KEEPERS = WRITERS + 1  # the one that housekeeping takes: it runs beside writers, but once only
SERVERS = WRITERS + 2  # the one that a running collector holds with a connection of its own
DESK = WRITERS + 3  # the one of whoever changes incidents: those of many centers are everybody's

# What a statement raises when the database is gone, locked or full: worth trying again later, unlike a wrong statement.
UNAVAILABLE = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)

NEWS = "news"  # of a connection: its transaction has something that people are to be told of; PostgreSQL's channel
EPOCH = "epoch"  # in `about`
DECISIONS = "decisions"  # in `about`: how many the journal had once, as gateways have shown
MOVING = "moving"  # in `about` while a move is under way
ARCHIVE = "archive"  # of a connection: the folder of its database's archive, if it is known

Row = Mapping[str, Any]


class StoreError(Exception):
    """The database cannot be used as configured; one sentence with the thing, the rule and the fix."""


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
        return cls(_checked(url))

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
        engine = _engine(self.url, reads_only=reads_only)
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


def claim(conn: sa.Connection, devices: Iterable[str]) -> None:
    """Until this transaction ends, no other that claims gateways of the same centers runs beside it. Claim once, and
    all."""
    if conn.dialect.name == "postgresql":
        conn.execute(_CLAIM, {"devices": sorted(set(devices))})


# In one order everywhere, so that two never wait for each other.
_CLAIM = sa.text(
    "SELECT pg_advisory_xact_lock(:space, place) FROM (SELECT DISTINCT hashtext(center) AS place FROM devices "
    "WHERE device = ANY(CAST(:devices AS text[])) ORDER BY place) AS places"
).bindparams(space=WRITERS)


def upsert(conn: sa.Connection, table: sa.Table, rows: Sequence[Row], newer_by: str | None = None) -> None:
    """Insert `rows` (same keys in each), or replace those columns of the rows that hold the same primary key.

    With `newer_by`, a row is replaced only by one whose value of that column is at least as great.
    """
    if rows:
        _run(conn, _upsert(conn.dialect.name, table, tuple(rows[0]), newer_by), rows)


def bulk_insert(conn: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert `rows` (same keys in each), as the database does it fastest: COPY on PostgreSQL."""
    if not rows:
        return
    if conn.dialect.name != "postgresql":
        _run(conn, _insert(table), rows)
        return
    import psycopg  # of no use to those who have SQLite only, and slow to load

    names = tuple(rows[0])
    statement = f"COPY {table.name} ({', '.join(names)}) FROM STDIN"
    raw = conn.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    try:
        with raw.cursor() as cursor, cursor.copy(statement) as copy:
            for values in map(_values(names), rows):
                copy.write_row(values)
    except psycopg.Error as error:  # as every other statement would say it, see UNAVAILABLE
        raise sa.exc.DBAPIError.instance(statement, None, error, psycopg.Error, dialect=conn.dialect) from error
    warm.note_rows(conn, table, rows)


def _run(conn: sa.Connection, statement: sa.Insert, rows: Sequence[Row]) -> None:
    """One statement for many rows, which SQLAlchemy would prepare one by one: that took as long as the database."""
    text, names = _compiled(conn.dialect, statement, tuple(rows[0]))
    codes = warm.centers_of(rows)
    options = {} if codes is None else {warm.CENTERS: codes}
    parameters: Any = list(map(_values(names), rows)) if names else list(rows)
    conn.exec_driver_sql(text, parameters, execution_options=options)


@lru_cache(maxsize=512)
def _compiled(dialect: sa.Dialect, statement: sa.Insert, columns: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The text, and the order of its parameters where they have no names."""
    compiled = statement.compile(dialect=dialect, column_keys=list(columns))
    return str(compiled), tuple(compiled.positiontup or ())


@lru_cache(maxsize=512)
def _values(names: tuple[str, ...]) -> Callable[[Row], Sequence[Any]]:
    """Takes these out of a row; `itemgetter` gives no sequence for one name."""
    return itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)


@lru_cache(maxsize=256)
def _insert(table: sa.Table) -> sa.Insert:
    return sa.insert(table)


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
    if not isinstance(url.query.get("host", ""), str):
        raise StoreError(f"database url: names `host` more than once; write {FORMS}")
    return url


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


def single(url: sa.URL, name: str = "") -> sa.Engine:
    """For a connection of PostgreSQL that is kept open; `name` is what the server's administrator sees."""
    words = reach(url) | ({"application_name": name} if name else {})
    return sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=words)


def reach(url: sa.URL) -> dict[str, Any]:
    """What a connection is told besides the URL, which may say otherwise: of several hosts the one that leads is taken,
    and a machine that died or is cut off is given up within seconds, at either end."""
    words: dict[str, Any] = dict(REACH)
    if "," in url.query.get("host", ""):
        words["target_session_attrs"] = "read-write"
    words = {name: value for name, value in words.items() if name not in url.query}
    return words | ({PREPARE: None} if PREPARE in url.query else {})


def _engine(url: sa.URL, *, reads_only: bool) -> sa.Engine:
    size = 8 if reads_only else 1
    if url.drivername != "sqlite":
        options = {"postgresql_readonly": reads_only}
        words = reach(url)
        return sa.create_engine(url, pool_pre_ping=True, pool_size=size, execution_options=options, connect_args=words)
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
