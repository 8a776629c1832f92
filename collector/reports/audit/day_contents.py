"""All that is stored of a center, day by day, as one keyed digest a day: without looking at signatures or at what the
bytes mean, so a tenth of the work of verifying them.

A batch belongs to the day of its receipt, a reading to the day it was taken, a day sheet to its day. What is archived
belongs to the day of its part, whose bytes on the disk are digested.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa

from collector.register.dated import today_ms
from collector.store import schema
from collector.store.cold import held, parts

_e, _a, _s = schema.evidence.c, schema.archived.c, schema.day_sheets.c

Day = tuple[int, bytes]  # when it begins in Pakistan (ms), and something stored of it
Contents = dict[int, str]
"""By when the days begin: digests in hex."""


def contents_of(conn: sa.Connection, code: str, devices: Sequence[str], from_ms: int, key: bytes) -> Contents:
    """Of the days since that midnight of which something is stored. Raises ArchiveMissing."""
    digests: dict[int, Any] = {}
    for day_ms, stored in itertools.chain(
        _sheets(conn, code, from_ms), _batches(conn, devices, from_ms), _readings(conn, code, from_ms),
        _archived(conn, code, from_ms),
    ):  # fmt: skip
        if day_ms not in digests:
            digests[day_ms] = hashlib.blake2b(key=key, digest_size=16)
        digests[day_ms].update(hashlib.blake2b(stored, digest_size=16).digest())
    return {day_ms: digest.hexdigest() for day_ms, digest in sorted(digests.items())}


def _sheets(conn: sa.Connection, code: str, from_ms: int) -> Iterator[Day]:
    """Those that are made: one that is due is made anew in any case."""
    mine = (_s.center == code) & (_s.day_ms >= from_ms) & _s.made_ms.is_not(None)
    for row in conn.execute(sa.select(_s.day_ms, _s.body).where(mine).order_by(_s.day_ms)):
        yield row.day_ms, b"sheet" + bytes(row.body or b"")


def _batches(conn: sa.Connection, devices: Sequence[str], from_ms: int) -> Iterator[Day]:
    """In the order of their ids."""
    mine = _e.device.in_(devices) & (_e.received_ms >= from_ms)
    rows = conn.execute(sa.select(schema.evidence).where(mine).order_by(_e.id), execution_options={"yield_per": 500})
    place = schema.evidence.columns.keys().index("received_ms")
    return _by_day("batches", (tuple(row) for part in rows.partitions() for row in part), itemgetter(place))


def _readings(conn: sa.Connection, code: str, from_ms: int) -> Iterator[Day]:
    for kind, table in schema.readings.items():
        mine = (table.c.center == code) & (table.c.wall_ms >= from_ms)
        rows = sorted(map(tuple, conn.execute(sa.select(table).where(mine)).all()), key=itemgetter(0, 1, 2, 3, 4))
        yield from _by_day(kind, rows, itemgetter(0))


def _by_day(kind: str, rows: Any, at_ms: Callable[[tuple[Any, ...]], int]) -> Iterator[Day]:
    for day_ms, some in itertools.groupby(rows, key=lambda row: today_ms(at_ms(row))):
        yield day_ms, msgspec.json.encode([kind, list(some)])


def _archived(conn: sa.Connection, code: str, from_ms: int) -> Iterator[Day]:
    mine = (_a.center == code) & (_a.day_ms >= from_ms)
    rows = conn.execute(sa.select(schema.archived).where(mine).order_by(*schema.archived.primary_key))
    yield from _by_day("archived", map(tuple, rows), itemgetter(schema.archived.columns.keys().index("day_ms")))
    for place in held.places(conn, mine):
        for kind in sorted(held.files_of(conn, place.part)):
            digest = parts.group_digest(held.folder_of(conn), kind, place.day_ms, place.part, code)
            yield place.day_ms, msgspec.json.encode([kind, place.part, digest])
