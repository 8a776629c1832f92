"""Readers of what is held of the past, in the tables and in the archive alike: the one place that knows where it lies.

`readings` stands where the table of a kind stood in a statement; `batches` gives what was signed. Where nothing of that
time and these centers is archived, `readings` is the table itself and costs one look into an index.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from agent import wire
from collector.store import ARCHIVE, schema
from collector.store.cold import parts
from collector.store.cold.batches import StoredBatch, of_row, unpacked
from collector.store.cold.signed_bytes import joined, plain_row

PAGE = 200
FOR_EVER_MS = 2**53

_a = schema.archived.c


class Place(NamedTuple):
    """Where some of a center's readings lie."""

    day_ms: int
    part: str
    center: str


def readings(
    conn: sa.Connection,
    kind: str,
    codes: Collection[str] | None = None,
    from_ms: int = 0,
    to_ms: int = FOR_EVER_MS,
    names: Sequence[str] | None = None,
) -> sa.FromClause:
    """The readings of a kind with the columns of its table, or the keys and `names` of them: at least those of these
    centers (None: of all) filed from `from_ms` to before `to_ms`. Raises ArchiveMissing."""
    table = schema.readings[kind]
    if kind in parts.SELDOM:
        return table
    mine = [] if codes is None else [_a.center.in_(sorted(codes))]
    near = places(conn, *mine, _a.to_ms >= from_ms, _a.from_ms < to_ms)
    if not near:
        return table
    columns = [column for column in table.columns if names is None or column.primary_key or column.name in names]
    rows = [
        row
        for place in near
        for row in rows_of(conn, kind, place, files_of(conn, place.part))
        if from_ms <= row["wall_ms"] < to_ms
    ]
    within = [table.c.wall_ms >= from_ms, table.c.wall_ms < to_ms]
    within += [] if codes is None else [table.c.center.in_(sorted(codes))]
    return sa.union_all(sa.select(*columns).where(*within), _inline(conn, columns, rows)).subquery()


def present(conn: sa.Connection, kinds: Sequence[str], codes: Sequence[str], from_ms: int, to_ms: int) -> set[str]:
    """Of these kinds those of which something may be held of these centers and this time, in one statement: a day of
    which nothing is held is not asked for kind by kind. What is archived is not looked into."""
    if places(conn, _a.center.in_(codes), _a.to_ms >= from_ms, _a.from_ms < to_ms):
        return set(kinds)
    tables = {kind: schema.readings[kind].c for kind in kinds}
    queries = [
        sa.select(sa.literal(kind)).where(
            sa.exists().where(table.center.in_(codes), table.wall_ms >= from_ms, table.wall_ms < to_ms)
        )
        for kind, table in tables.items()
    ]
    return set(conn.scalars(sa.union_all(*queries)))


def rows_of(conn: sa.Connection, kind: str, place: Place, files: parts.Files) -> Iterator[dict[str, Any]]:
    """One center's archived rows of a part, as the table has them. Raises ArchiveMissing."""
    return (plain_row(kind, row) for row in _archived(conn, kind, place, files))


def batches(
    conn: sa.Connection,
    *,
    center: str | None = None,
    device: str | None = None,
    spool: str | None = None,
    numbers: tuple[int, int] | None = None,
) -> Iterator[StoredBatch]:
    """Every batch that is held, or those of a center, a device, a spool, with some of these numbers: the archived ones
    by day, then the others in the order in which they came. Read page by page; what comes meanwhile may be missing.
    Raises ArchiveMissing."""
    parties = {"center": center, "device": device, "spool": spool}
    named = {name: value for name, value in parties.items() if value is not None}
    for place in places(conn, *_of(schema.archived, named, numbers)):
        candidates = batches_of(conn, place, files_of(conn, place.part))
        yield from (batch for batch in candidates if _is_of(batch, named, numbers))
    evidence = schema.evidence
    query = sa.select(evidence).where(*_of(evidence, named, numbers)).order_by(evidence.c.id).limit(PAGE)
    last = -1
    while page := conn.execute(query.where(evidence.c.id > last)).mappings().all():
        yield from map(of_row, page)
        last = page[-1]["id"]


def beside(
    conn: sa.Connection, device: str, spool: str, numbers: tuple[int, int]
) -> tuple[StoredBatch | None, StoredBatch | None]:
    """The batches of a spool that begin last before these numbers, and first after them. Raises ArchiveMissing."""
    first, last = numbers
    e, candidates = schema.evidence.c, list[StoredBatch]()
    for table, before, after in ((e, e.first_seq, e.first_seq), (_a, _a.last_seq, _a.first_seq)):
        mine = (table.device == device) & (table.spool == spool)
        sides = ((table.first_seq < first, before.desc()), (after > last, after.asc()))
        for where, order in sides:
            if table is e:
                query = sa.select(schema.evidence).where(mine, where).order_by(order).limit(1)
                candidates += map(of_row, conn.execute(query).mappings())
            else:
                query = sa.select(_a.day_ms, _a.part, _a.center).where(mine, where).order_by(order).limit(1)
                for row in conn.execute(query):
                    place = Place(*row)
                    candidates += batches_of(conn, place, files_of(conn, place.part))
    own = [batch for batch in candidates if (batch.device, batch.spool) == (device, spool)]
    return (
        max((batch for batch in own if batch.first_seq < first), key=lambda one: one.first_seq, default=None),
        min((batch for batch in own if batch.first_seq > last), key=lambda one: one.first_seq, default=None),
    )


def batches_of(conn: sa.Connection, place: Place, files: parts.Files) -> list[StoredBatch]:
    """One center's archived batches of a part, byte for byte as received. Raises ArchiveMissing."""
    raws = {
        (row["device"], row["spool"], row["seq"]): joined(kind, row)
        for kind in schema.readings
        for row in _archived(conn, kind, place, files)
    }
    return list(unpacked(_archived(conn, parts.BATCHES, place, files), raws))


def rows_of_batches(conn: sa.Connection, place: Place, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Some columns of one center's archived batches; `center` must be one. `fresh` is None for all of a batch's
    numbers. Raises ArchiveMissing."""
    return parts.read(folder_of(conn), parts.BATCHES, place.day_ms, place.part, place.center, names)


def places(conn: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Place]:
    query = sa.select(_a.day_ms, _a.part, _a.center).where(*where).distinct()
    return [Place(*row) for row in conn.execute(query.order_by(_a.day_ms, _a.part, _a.center))]


def folder_of(conn: sa.Connection) -> parts.Folder:
    folder: parts.Folder | None = conn.info.get(ARCHIVE)
    if folder is None:
        raise parts.ArchiveMissing("archive: its folder is not known here; set [archive] folder")
    return folder


def _archived(conn: sa.Connection, kind: str, place: Place, files: parts.Files) -> Iterator[dict[str, Any]]:
    if kind in files:
        yield from parts.read(folder_of(conn), kind, place.day_ms, place.part, place.center)


def files_of(conn: sa.Connection, part: str) -> parts.Files:
    """The files of a part, by kind: none of a part that is not on record."""
    text = conn.scalar(sa.select(schema.archive_parts.c.files).where(schema.archive_parts.c.part == part))
    return parts.unpacked_files(text) if text else {}


def _of(table: sa.Table, named: dict[str, str], numbers: tuple[int, int] | None) -> list[sa.ColumnElement[bool]]:
    mine = [table.c[name] == value for name, value in named.items()]
    if numbers is not None:
        mine += [table.c.first_seq <= numbers[1], table.c.last_seq >= numbers[0]]
    if numbers is not None and table is schema.evidence:  # for its index
        mine.append(table.c.first_seq > numbers[0] - wire.MAX_BATCH_READINGS)
    return mine


def _is_of(batch: StoredBatch, named: dict[str, str], numbers: tuple[int, int] | None) -> bool:
    within = numbers is None or (batch.first_seq <= numbers[1] and batch.last_seq >= numbers[0])
    return within and all(getattr(batch, name) == value for name, value in named.items())


def _inline(conn: sa.Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[dict[str, Any]]) -> sa.Select[Any]:
    """Rows as a part of a statement, by way of JSON, which both databases unpack fast."""
    chosen = [{column.name: row[column.name] for column in columns} for row in rows]
    if conn.dialect.name == "postgresql":
        document = sa.cast(sa.literal(msgspec.json.encode(chosen).decode(), sa.Text), JSONB)
        made = sa.func.jsonb_to_recordset(document).table_valued(*(sa.column(c.name, c.type) for c in columns))
        return sa.select(*made.render_derived(with_types=True).c)
    text = sa.literal(msgspec.json.encode([list(row.values()) for row in chosen]).decode(), sa.Text)
    element = sa.func.json_each(text).table_valued("value").alias()
    values = (sa.func.json_extract(element.c.value, f"$[{n}]", type_=c.type) for n, c in enumerate(columns))
    return sa.select(*(value.label(column.name) for value, column in zip(values, columns, strict=True)))
