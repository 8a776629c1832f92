"""Statements for many rows at once, and the lock of those who write beside each other, as each database does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from collector.store import warm

WRITERS = 0x6E61627A  # the advisory lock of PostgreSQL that every writer takes ("nabz"); those beside others share it

Row = Mapping[str, Any]


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
