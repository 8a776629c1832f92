"""Rows that people record, many at a time and numbered by the database: facts, imports of them, calendar, disputes,
windows, acts on incidents. A line holds some of them, compressed. The same row may have another number in a
database that was restored, or where a transaction was broken off: a row is known by what of it never changes.

Of tables from which rows are deleted (routes, plans, rotas) a line holds all rows, as they are few.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from collector.store import schema

Row = Mapping[str, Any]
AT_ONCE = 200  # rows of a line
PACKED = "packed"
# Columns that may change after a row was recorded; all others say which row it is.
_SECOND = frozenset({"confirmed_ms", "confirmed_by", "withdrawn_ms", "withdrawn_by", "withdrawn_why"})
CHANGING: Mapping[str, frozenset[str]] = {
    "facts": _SECOND | {"waits"},
    "imports": frozenset({"undone_ms", "undone_by", "undone_why"}),
    "calendar": _SECOND | {"from_ms", "to_ms"},
    "disputes": frozenset(
        {"state", "witness", "test_from_ms", "test_to_ms", "test_by", "test_id", "outcome", "decided_ms", "decided_by",
         "reason", "excused_from_ms", "excused_to_ms"}
    ),
    "windows": frozenset({"ended_ms", "ended_by"}),
    "incidents": frozenset(column.name for column in schema.incidents.c) - {"id", "scope", "place", "opened_ms"},
    "incident_events": frozenset(),
}  # fmt: skip
WHOLE = ("routes", "plan_steps", "rotas", "rota_overrides")
# What a line says whatever the row does: nobody is told again of an act that comes back.
CONSTANT: Mapping[str, Mapping[str, int | None]] = {"incident_events": {"queued_ms": 0, "routed_ms": 0, "change": None}}
PRIVATE = ("contact", "phone")  # facts that no line has: a journal is for ever, and who asks to be forgotten is
UNSAID = frozenset({"id", "waits"})  # what says nothing of a row
_NOTED = {  # rows that have a line; of incidents those in which a person has acted, which their events tell
    "facts": schema.facts.c.name.not_in(PRIVATE),
    "incident_events": schema.incident_events.c.person != "",
}


def lines_of(conn: sa.Connection, name: str, ids: Collection[int] | None = None) -> Iterator[dict[str, Any]]:
    """What journal lines hold of these rows, or of all."""
    for rows in _some(conn, name, ids):
        yield packed(rows)


def packed(rows: Sequence[Row]) -> dict[str, Any]:
    text = json.dumps([dict(row) for row in rows], ensure_ascii=False, separators=(",", ":"))
    return {PACKED: base64.b64encode(zlib.compress(text.encode(errors="surrogatepass"))).decode()}


def unpacked(row: Row) -> list[dict[str, Any]]:
    """The rows of a line; a line of before there was packing has one, as it is."""
    if PACKED not in row:
        return [dict(row)]
    rows: list[dict[str, Any]] = json.loads(zlib.decompress(base64.b64decode(row[PACKED])))
    return rows


def _some(
    conn: sa.Connection, name: str, ids: Collection[int] | None, after: int = 0
) -> Iterator[list[dict[str, Any]]]:
    """In the order of their numbers, AT_ONCE at a time: these, or all after a number."""
    table = schema.metadata.tables[name]
    kept = _NOTED.get(name, sa.true())
    if ids is None:
        ids = list(conn.scalars(sa.select(table.c.id).where(kept, table.c.id > after)))
    wanted = sorted(ids)
    for first in range(0, len(wanted), AT_ONCE):
        mine = table.c.id.in_(wanted[first : first + AT_ONCE])
        if rows := [
            {**row._mapping, **CONSTANT.get(name, {})}
            for row in conn.execute(sa.select(table).where(mine, kept).order_by(table.c.id))
        ]:
            yield rows


def unnoted(conn: sa.Connection, name: str, lines: Sequence[Row], after: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of the table, numbered after `after`, that none of these lines says as they are, to be noted. Of incidents
    none: evidence changes them too, and their last act has a line."""
    if name == "incidents":
        return
    newest = {_digest(name, row): _digest(name, row, whole=True) for line in lines for row in unpacked(line)}
    for rows in _some(conn, name, None, after):
        if missing := [row for row in rows if newest.get(_digest(name, row)) != _digest(name, row, whole=True)]:
            yield packed(missing)


def _digest(name: str, row: Row, *, whole: bool = False) -> bytes:
    left_out = UNSAID | CONSTANT.get(name, {}).keys()
    left_out = left_out if whole else left_out | CHANGING[name]
    values = {key: value for key, value in sorted(row.items()) if key not in left_out}
    return hashlib.sha256(json.dumps(values).encode()).digest()[:16]


def apply(conn: sa.Connection, name: str, line: Row) -> None:
    """The rows of a line as they were when it was written."""
    table, rows = schema.metadata.tables[name], unpacked(line)
    known = {column.name for column in table.c}
    mine = table.c.id.in_([row["id"] for row in rows])
    held = {row.id: dict(row._mapping) for row in conn.execute(sa.select(table).where(mine))}
    for row in rows:
        values = {key: value for key, value in row.items() if key in known}
        number = row["id"] if row["id"] in held else None
        if number is None or _digest(name, held[number]) != _digest(name, row):
            number = _same(conn, table, values)
        if number is not None:
            values = {key: value for key, value in values.items() if key in CHANGING[name]}
            if not values:
                continue
            conn.execute(sa.update(table).where(table.c.id == number).values(values))
            continue
        if row["id"] in held:
            values.pop("id")  # another row has its number
        conn.execute(sa.insert(table).values(values))


def _same(conn: sa.Connection, table: sa.Table, values: Row) -> int | None:
    """The number under which the row is held."""
    left_out = UNSAID | CHANGING[table.name] | CONSTANT.get(table.name, {}).keys()
    base = {key: value for key, value in values.items() if key not in left_out}
    mine = [table.c[key].is_(None) if value is None else table.c[key] == value for key, value in base.items()]
    return conn.scalar(sa.select(table.c.id).where(*mine).limit(1))


def go_on(conn: sa.Connection) -> None:
    """New rows get numbers after those that came back; by the owner of the tables."""
    if conn.dialect.name != "postgresql":
        return
    for name in (*CHANGING, "routes", "rotas", "rota_overrides"):
        table = schema.metadata.tables[name]
        last = sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0) + 1).scalar_subquery()
        conn.execute(sa.select(sa.func.setval(f"{name}_id_seq", last, sa.false())))


# ---------------------------------------------------------------- whole tables


def whole(conn: sa.Connection, name: str) -> list[dict[str, Any]]:
    table = schema.metadata.tables[name]
    return [dict(row._mapping) for row in conn.execute(sa.select(table).order_by(*table.primary_key))]


def replace(conn: sa.Connection, name: str, line: Row) -> None:
    """The table as it was when the line was written."""
    table = schema.metadata.tables[name]
    known = {column.name for column in table.c}
    conn.execute(sa.delete(table))
    if rows := [{key: value for key, value in row.items() if key in known} for row in unpacked(line)]:
        conn.execute(sa.insert(table), rows)
