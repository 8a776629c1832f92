"""Stored rows beside those that the evidence gives: which lacks, which is added, which column differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from agent import wire
from collector.common.messages import Device, printable
from collector.ingest.rows import believed
from collector.reports.audit.mismatch import Mismatch
from collector.reports.audit.replay import DerivedReading, ReadingKey, digest_of
from collector.store import schema
from collector.store.cold import held, parts
from collector.store.cold.batches import StoredBatch
from collector.store.columns import own_columns

BatchOf = Callable[[int], StoredBatch]  # by its id


def compare(
    conn: sa.Connection,
    code: str,
    derived: Mapping[ReadingKey, DerivedReading],
    span: tuple[int, int],
    batch_of: BatchOf,
) -> Iterator[Mismatch]:
    """In the order of kinds and times."""
    for kind in schema.readings:
        seen: set[ReadingKey] = set()
        names = [column.name for column in schema.readings[kind].columns]
        for row in _stored(conn, kind, code, span):
            wall_ms, _, device, spool, seq, subject, received_ms, *own = row
            key = (kind, device, spool, seq)
            seen.add(key)
            original = derived.get(key)
            if original is None:
                yield Mismatch.of("reading_added", **_names(key))
            elif digest_of([subject, received_ms, *own]) != original.digest:
                yield _differing(key, dict(zip(names, row, strict=True)), original, batch_of(original.batch))
            elif wall_ms != original.wall_ms:
                yield _column(key, original, "wall_ms", wall_ms, original.wall_ms)
        yield from _missing(kind, derived, seen, span)


def _stored(conn: sa.Connection, kind: str, code: str, span: tuple[int, int]) -> Iterator[Sequence[Any]]:
    """In the order of times, as the table has its columns, wherever they lie."""
    table = schema.readings[kind]
    within = (table.c.center == code) & table.c.wall_ms.between(span[0], span[1] - 1)
    records: list[Sequence[Any]] = list(conn.execute(sa.select(table).where(within)).all())
    if kind not in parts.SELDOM:
        a = schema.archived.c
        near = held.places(conn, a.center == code, a.to_ms >= span[0], a.from_ms < span[1])
        rows = (row for place in near for row in held.rows_of(conn, kind, place, held.files_of(conn, place.part)))
        records += [tuple(row.values()) for row in rows if span[0] <= row["wall_ms"] < span[1]]
    return iter(sorted(records, key=itemgetter(0)))


def _missing(
    kind: str, derived: Mapping[ReadingKey, DerivedReading], seen: set[ReadingKey], span: tuple[int, int]
) -> Iterator[Mismatch]:
    """Also those that were moved out of the time."""
    lacking = (
        (original.wall_ms, key)
        for key, original in derived.items()
        if key[0] == kind and key not in seen and span[0] <= original.wall_ms < span[1]
    )
    for _, key in sorted(lacking):
        yield Mismatch.of("reading_missing", **_names(key), batch=str(derived[key].batch))


def _differing(key: ReadingKey, row: Mapping[str, Any], original: DerivedReading, stored: StoredBatch) -> Mismatch:
    batch = wire.decode_frame(stored.body)
    reading = believed(wire.decode_reading(bytes(batch.readings[key[3] - batch.first_seq])), original.wall_ms)
    for name, value in own_columns(key[0], reading).items():
        if row[name] != value:
            return _column(key, original, name, row[name], value)
    if row["received_ms"] != stored.received_ms:
        return _column(key, original, "received_ms", row["received_ms"], stored.received_ms)
    return _column(key, original, "subject", row["subject"], printable(reading.subject))


def _column(key: ReadingKey, original: DerivedReading, name: str, stored: object, signed: object) -> Mismatch:
    about = {**_names(key), "batch": str(original.batch)}
    return Mismatch.of("reading_differs", **about, column=name, stored=_short(stored), signed=_short(signed))


def _names(key: ReadingKey) -> dict[str, str]:
    return {"kind": key[0], "reading": f"{key[1]} {key[2]} {key[3]}"}


def _short(value: object) -> str:
    return "-" if value is None else str(value)[:60]


def keys_of(devices: Mapping[str, Device], name_of: Callable[[bytes], str]) -> Iterator[Mismatch]:
    """A gateway's name is bound to the key that it enrolled with."""
    for device in devices.values():
        if name_of(device.public_key) != device.device:
            yield Mismatch.of("key_replaced", device=device.device)
