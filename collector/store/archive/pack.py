"""A day of some centers becomes one part of the archive: written, read back, compared, and only then let go.

What holds at every moment, whoever is killed: a batch is in the tables until the transaction that puts its part on
record has taken it out of them, and that transaction begins when the part's files lie on the disk and have been read
back. Files of a part that is on no record are left over from a death: they are removed while the tables still have what
is in them, and else put aside, for they may be all that is left (collector.store.archive.remove).
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from agent.common.logs import Event
from collector.store import Store, StoreError, bulk_insert, schema
from collector.store.cold import held, parts
from collector.store.cold.batches import Key, StoredBatch, fresh_raws, of_row, packed
from collector.store.cold.held import Place
from collector.store.cold.parts import BATCHES, Files, PartWriter
from collector.store.cold.signed_bytes import joined, split
from collector.store.rollups import DAY_MS, DAY_STARTS_MS, day_of, rolled_until

PACKED = Event(
    __name__, "info", "day_archived", "what came of some centers on a day went into the archive", key="part",
    fields="day centers batches readings size",
)  # fmt: skip

AT_ONCE = 250  # centers of a part
AT_ONCE_SQLITE = 25  # while their rows are taken out, nobody else writes to the file
STREAMED = 1_000  # rows read at a time

Row = dict[str, Any]
Step = Callable[[str], None]

_e, _g, _p = schema.evidence.c, schema.guesses.c, schema.pulse.c


class PackError(StoreError):
    """What was written is not what is held; nothing was taken out of the tables."""


class Due(NamedTuple):
    """Centers of which something that came on this day is still in the tables, and may go into the archive."""

    day_ms: int
    codes: tuple[str, ...]


@dataclass
class Held:
    """Of one center's day: a sum over everything held of it, and what of each spool."""

    digest: str = ""
    rows: Counter[str] = field(default_factory=Counter)  # by kind, and BATCHES
    spools: dict[tuple[str, str], Row] = field(default_factory=dict)


@dataclass(frozen=True)
class Packed:
    part: str
    day_ms: int
    centers: int
    batches: int
    readings: int
    size: int  # bytes


def due(conn: sa.Connection, now_ms: int, after_ms: int) -> list[Due]:
    """Days that ended `after_ms` ago. A center keeps in the tables what came in the last such time before it was last
    heard, for whatever comes next is judged beside it; and what may still be given another time."""
    if not after_ms:
        return []
    until_ms = min(now_ms - after_ms, rolled_until(conn))
    day = _e.received_ms - (_e.received_ms - DAY_STARTS_MS) % DAY_MS
    query = sa.select(day.label("day_ms"), _e.center).where(_e.received_ms < day_of(until_ms)).distinct()
    heard = {row.center: int(row.heard_ms) for row in conn.execute(sa.select(_p.center, _p.heard_ms))}
    guesses = conn.execute(sa.select(_g.center, sa.func.min(_g.received_ms)).group_by(_g.center))
    guessed = {row[0]: int(row[1]) for row in guesses}
    by_day: dict[int, list[str]] = defaultdict(list)
    for day_ms, code in conn.execute(query.order_by(day, _e.center)):
        end_ms = int(day_ms) + DAY_MS
        if end_ms <= heard.get(code, now_ms) - after_ms and guessed.get(code, now_ms) >= end_ms:
            by_day[int(day_ms)].append(code)
    size = AT_ONCE if conn.dialect.name == "postgresql" else AT_ONCE_SQLITE
    return [
        Due(day_ms, tuple(codes[first : first + size]))
        for day_ms, codes in sorted(by_day.items())
        for first in range(0, len(codes), size)
    ]


def count(conn: sa.Connection, day: Due) -> int:
    """Batches that would go."""
    return conn.scalar(sa.select(sa.func.count()).select_from(schema.evidence).where(*_mine(schema.evidence, day))) or 0


def pack(store: Store, day: Due, now_ms: int, step: Step = lambda _name: None) -> Packed:
    """One part. `step` is called between any two things of which the first may be done and the second not. Raises
    PackError, ArchiveMissing, OSError: then nothing has left the tables."""
    folder = folder_of(store)
    part = f"{now_ms:012x}-{secrets.token_hex(4)}"
    try:
        with store.read() as conn:
            before, files = _written(conn, PartWriter(folder, day.day_ms, part), day, step)
        step("written")
        with store.read() as conn:
            _compare(conn, day, part, files, before)
        step("compared")
    except BaseException:
        parts.remove(folder, day.day_ms, part)
        raise
    with store.keep() as conn:
        _record(conn, day, part, files, before, now_ms)
        step("recorded")
    step("committed")
    counts = sum((one.rows for one in before.values()), Counter())
    size, readings = sum(file.size for file in files.values()), counts.total() - counts[BATCHES]
    made = Packed(part, day.day_ms, len(before), counts[BATCHES], readings, size)
    PACKED.log(
        part=part, day=parts.day_name(day.day_ms), centers=made.centers, batches=made.batches, readings=made.readings,
        size=size,
    )  # fmt: skip
    return made


def folder_of(store: Store) -> parts.Folder:
    if store.archive is None:
        raise parts.ArchiveMissing("archive: its folder is not known here; set [archive] folder")
    return store.archive


# ---------------------------------------------------------------- from the tables to the files


def _written(conn: sa.Connection, writer: PartWriter, day: Due, step: Step) -> tuple[dict[str, Held], Files]:
    try:
        before = {}
        for code, batches, rows in _by_center(conn, day):
            before[code] = held_of(batches, rows)
            for kind, archived in _archived(batches, rows).items():
                writer.add(kind, archived)
            step("center")
        step("drafted")
        return before, writer.finish()
    finally:
        writer.close()


def _archived(batches: Sequence[StoredBatch], rows: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """The rows of the files, by kind."""
    signed = fresh_raws(batches)
    by_kind: dict[str, list[Row]] = {}
    raws: dict[Key, bytes] = {}
    for kind, some in rows.items():
        by_kind[kind] = [split(kind, signed.get(_key(row)), row) for row in some]
        raws |= {_key(row): joined(kind, row) for row in by_kind[kind]}
    return {**by_kind, BATCHES: packed(batches, raws)}


def _key(row: Mapping[str, Any]) -> Key:
    return row["device"], row["spool"], row["seq"]


def _by_center(conn: sa.Connection, day: Due) -> Iterator[tuple[str, list[StoredBatch], dict[str, list[Row]]]]:
    """What came of each center, center by center, so that one at a time is in memory."""
    streams = {kind: _CenterStream(conn, table, day) for kind, table in schema.readings.items()}
    for code, some in _CenterStream(conn, schema.evidence, day).all():
        rows = {kind: sorted(stream.of(code), key=_key) for kind, stream in streams.items()}
        yield code, [of_row(row) for row in some], rows


class _CenterStream:
    """The rows of a table that came on a day, a center at a time. All of them are in the same order of centers, the
    database's own."""

    def __init__(self, conn: sa.Connection, table: sa.Table, day: Due) -> None:
        query = sa.select(table).where(*_mine(table, day)).order_by(table.c.center)
        names = [str(column.name) for column in table.columns]
        cursor = conn.execute(query, execution_options={"yield_per": STREAMED})
        rows = (dict(zip(names, row, strict=True)) for row in cursor)
        self._groups = itertools.groupby(rows, key=lambda row: str(row["center"]))
        self._next: tuple[str, list[Row]] | None = None
        self._go_on()

    def _go_on(self) -> None:
        group = next(self._groups, None)
        self._next = group and (group[0], list(group[1]))

    def of(self, code: str) -> list[Row]:
        if self._next is None or self._next[0] != code:
            return []
        rows = self._next[1]
        self._go_on()
        return rows

    def all(self) -> Iterator[tuple[str, list[Row]]]:
        while self._next is not None:
            yield self._next[0], self.of(self._next[0])


def _mine(table: sa.Table, day: Due) -> list[sa.ColumnElement[bool]]:
    """No reading is filed under a time after it came."""
    end_ms = day.day_ms + DAY_MS
    near = [table.c.wall_ms < end_ms] if "wall_ms" in table.c else []
    came = [table.c.received_ms >= day.day_ms, table.c.received_ms < end_ms]
    return [table.c.center.in_(day.codes), *came, *near]


# ---------------------------------------------------------------- what is held, summed


def held_of(batches: Sequence[StoredBatch], rows: Mapping[str, Sequence[Row]]) -> Held:
    """In whatever order they are."""
    contents = Held(rows=Counter({BATCHES: len(batches)}))
    digest = hashlib.sha256()
    for batch in sorted(batches, key=lambda batch: batch.id):
        digest.update(repr(batch).encode())
        _note(contents.spools, batch.device, batch.spool, batch.first_seq, batch.last_seq)["batches"] += 1
    for kind in sorted(rows):
        for row in sorted(rows[kind], key=_key):
            digest.update(msgspec.json.encode(sorted(row.items())))
            spool = _note(contents.spools, row["device"], row["spool"], row["seq"], row["seq"])
            spool["readings"] += 1
            spool["from_ms"] = min(spool["from_ms"] or row["wall_ms"], row["wall_ms"])
            spool["to_ms"] = max(spool["to_ms"] or 0, row["wall_ms"])
        contents.rows[kind] += len(rows[kind])
    contents.digest = digest.hexdigest()
    return contents


def _note(spools: dict[tuple[str, str], Row], device: str, spool: str, first: int, last: int) -> Row:
    key = {"device": device, "spool": spool}
    empty = {**key, "first_seq": first, "last_seq": last, "from_ms": None, "to_ms": None, "batches": 0, "readings": 0}
    entry = spools.setdefault((device, spool), empty)
    entry |= {"first_seq": min(entry["first_seq"], first), "last_seq": max(entry["last_seq"], last)}
    return entry


def _compare(conn: sa.Connection, day: Due, part: str, files: Files, before: Mapping[str, Held]) -> None:
    """The files, read again: every batch byte for byte, and with it the chain and the signature that ingest proved; and
    every row."""
    for code, then in before.items():
        place = Place(day.day_ms, part, code)
        rows = {kind: list(held.rows_of(conn, kind, place, files)) for kind in schema.readings}
        if held_of(held.batches_of(conn, place, files), rows).digest != then.digest:
            raise PackError(f"archive {part}: center {code} does not come back as it went in; report it")


def _record(conn: sa.Connection, day: Due, part: str, files: Files, before: Mapping[str, Held], now_ms: int) -> None:
    """On record, and out of the tables. Raises PackError when these have something else by now."""
    about = {"part": part, "day_ms": day.day_ms}
    row = {**about, "made_ms": now_ms, "files": parts.packed_files(files), "centers": len(before)}
    conn.execute(sa.insert(schema.archive_parts).values(**row))
    rows = [{**about, "center": code, **row} for code, one in before.items() for row in one.spools.values()]
    bulk_insert(conn, schema.archived, rows)
    counts = sum((one.rows for one in before.values()), Counter())
    for kind in (*schema.readings, BATCHES):
        if kind in parts.SELDOM:
            continue
        table = parts.table_of(kind)
        count = conn.execute(sa.delete(table).where(*_mine(table, day))).rowcount
        if count != counts[kind]:
            raise PackError(f"archive {part}: {table.name} has changed meanwhile; it is tried again")
