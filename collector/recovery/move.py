"""All rows of one database into another, with a checksum of every table at both ends.

While it runs, and if it is broken off, the new database says so of itself and nothing opens it; run again, it empties
what has come and starts over. So there is never half of anything in use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from collector.store import MOVING, Store, StoreError, bulk_insert, migrate, roles, schema, upsert, warm

ROWS = 5_000  # read, hashed and written at a time

Progress = Callable[[int, int], None]
"""Told rows done and rows in all, both ends counted."""


@dataclass(frozen=True)
class TableCopy:
    """One table at one end: its rows, and a sum over them that does not depend on their order."""

    name: str
    rows: int
    checksum: str


def plan(source: Store) -> dict[str, int]:
    """Rows of each table that would be moved."""
    with source.read() as conn:
        return {table.name: _count(conn, table) for table in _tables()}


def move(source: Store, to: Store, progress: Progress) -> list[TableCopy]:
    """Moves all; returns the tables as both ends have them. `to` is attached, not opened. Raises StoreError.

    Nothing may write to `source` meanwhile: its checksums are of what was read, so what comes later stays behind.
    """
    _begin(source, to)
    total, done = 2 * sum(plan(source).values()), 0

    def report(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, max(total, done))

    sent = [_send(source, to, table, report) for table in _tables()]
    held = [_tally(to, table, report) for table in _tables()]
    if wrong := [one.name for one, other in zip(sent, held, strict=True) if one != other]:
        raise StoreError(f"move: {', '.join(wrong)} differ at the two ends; nothing opens {to}, run it again")
    with to.write() as conn:
        for table in _tables():
            if to.parted and roles.is_numbered(table):
                _go_on(conn, table)
        conn.execute(sa.delete(schema.about).where(schema.about.c.name == MOVING))
    return held


def _tables() -> list[sa.Table]:
    return sorted(schema.metadata.tables.values(), key=lambda table: table.name)


def _begin(source: Store, to: Store) -> None:
    """An empty database of our version with a mark on it; one broken off is emptied. Raises StoreError."""
    with to.write() as conn:
        warm.unmarked(conn)
        held = migrate.version(conn)
        if held is None:
            schema.metadata.create_all(conn)
            migrate.stamp(conn)
        elif held != migrate.HEAD or conn.scalar(_MARK) is None:
            raise StoreError(f"database {to}: is not empty; name an empty one, a move never overwrites")
        for table in _tables():
            conn.execute(sa.delete(table))
        upsert(conn, schema.about, [{"name": MOVING, "value": str(source)}])


_MARK = sa.select(schema.about.c.value).where(schema.about.c.name == MOVING)


def _send(source: Store, to: Store, table: sa.Table, report: Callable[[int], None]) -> TableCopy:
    sums = _Sums()
    names = [column.name for column in table.columns]
    with to.write() as conn:
        warm.unmarked(conn)
        for rows in _rows(source, table):
            sums.add(rows)
            bulk_insert(conn, table, [dict(zip(names, row, strict=True)) for row in rows])
            report(len(rows))
    return sums.of(table)


def _tally(store: Store, table: sa.Table, report: Callable[[int], None]) -> TableCopy:
    sums = _Sums()
    for rows in _rows(store, table):
        sums.add(rows)
        report(len(rows))
    return sums.of(table)


def _rows(store: Store, table: sa.Table) -> Iterator[list[sa.Row[tuple[object, ...]]]]:
    """All rows of a table as one moment has them, some at a time; the mark of the move itself is no row of ours."""
    query = sa.select(*table.columns)
    if table is schema.about:
        query = query.where(schema.about.c.name != MOVING)
    with store.read() as conn, closing(conn.execute(query, execution_options={"yield_per": ROWS})) as result:
        for some in result.partitions():
            yield list(some)


class _Sums:
    """Rows, and the sum of the first 8 bytes of each one's SHA-256, modulo 2^64."""

    def __init__(self) -> None:
        self._rows = self._sum = 0

    def add(self, rows: list[sa.Row[tuple[object, ...]]]) -> None:
        for row in rows:
            digest = hashlib.sha256(msgspec.json.encode(tuple(row))).digest()
            self._sum = (self._sum + int.from_bytes(digest[:8])) % 2**64
        self._rows += len(rows)

    def of(self, table: sa.Table) -> TableCopy:
        return TableCopy(table.name, self._rows, f"{self._sum:016x}")


def _count(conn: sa.Connection, table: sa.Table) -> int:
    return int(conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def _go_on(conn: sa.Connection, table: sa.Table) -> None:
    """New rows get ids after those that came."""
    last = sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0) + 1)
    conn.execute(sa.select(sa.func.setval(f"{table.name}_id_seq", last.scalar_subquery(), sa.false())))
