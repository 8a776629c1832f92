"""Connections to the database that a URL names: SQLite's pragmas and locks, PostgreSQL's hosts and time limits."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from pysqlite3 import dbapi2 as sqlite3  # Debian 12's own SQLite 3.40 can corrupt a WAL file of two connections

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

# What a statement raises when the database is gone, locked or full: worth trying again later, unlike a wrong statement.
UNAVAILABLE = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)


class StoreError(Exception):
    """The database cannot be used as configured; one sentence with the thing, the rule and the fix."""


def checked(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        raise StoreError(f"database url: not a URL; write {FORMS}") from None
    if url.drivername not in ("sqlite", "postgresql+psycopg") or not url.database:
        raise StoreError(f"database url {url.render_as_string(hide_password=True)}: not known here; write {FORMS}")
    if not isinstance(url.query.get("host", ""), str):
        raise StoreError(f"database url: names `host` more than once; write {FORMS}")
    return url


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


def engine(url: sa.URL, *, reads_only: bool) -> sa.Engine:
    size = 8 if reads_only else 1
    if url.drivername != "sqlite":
        options = {"postgresql_readonly": reads_only}
        words = reach(url)
        return sa.create_engine(url, pool_pre_ping=True, pool_size=size, execution_options=options, connect_args=words)
    arguments = {"check_same_thread": False, "isolation_level": None, "timeout": BUSY_MS / 1000}
    made = sa.create_engine(url, module=sqlite3, pool_size=size, connect_args=arguments)

    @sa.event.listens_for(made, "connect")
    def settle(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in (*PRAGMAS, "query_only = ON") if reads_only else PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()

    # The driver would begin lazily and deferred; a writer must hold the write lock before it reads what it decides on.
    @sa.event.listens_for(made, "begin")
    def begin(conn: sa.Connection) -> None:
        conn.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    return made
