"""The evidence of each day that is over, as one digest a center: of what was received, in its order; and each record of
a measurement server that came in on it, so that none can be left out later.

A signature stands for its batch: nobody but the gateway can make another batch that it fits.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from agent.common.center_time import TZ, UTC_AHEAD_MS
from collector.store import Store, bulk_insert, schema, upsert
from collector.store.journal import leaves

DAY_MS = 86_400_000
SETTLE_MS = 600_000  # transactions that began on the day are over
LOGGED_UNTIL = "log_days_until_ms"  # in `about`

_e, _r = schema.evidence.c, schema.records.c


@dataclass
class DayDigest:
    """Running, over the batches that a center's gateways sent on one day."""

    batches: int = 0
    _sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, device: str, spool: str, first_seq: int, last_seq: int, signature: bytes) -> None:
        self._sha256.update(f"{device} {spool} {first_seq} {last_seq} {signature.hex()}\n".encode())
        self.batches += 1

    @property
    def sha256(self) -> str:
        return str(self._sha256.hexdigest())


def begins_ms(at_ms: int) -> int:
    """When the day of that time began in Pakistan."""
    return (at_ms + UTC_AHEAD_MS) // DAY_MS * DAY_MS - UTC_AHEAD_MS


def day_name(from_ms: int) -> str:
    return datetime.fromtimestamp(from_ms / 1000, ZoneInfo(TZ)).date().isoformat()


def digests(conn: sa.Connection, from_ms: int, center: str | None = None) -> dict[str, DayDigest]:
    """Of one day, by center; of one center alone where it is named."""
    by_center: dict[str, DayDigest] = {}
    for row in _rows(conn, from_ms, center):
        one = by_center.setdefault(row.center, DayDigest())
        one.add(row.device, row.spool, row.first_seq, row.last_seq, bytes(row.signature))
    return by_center


def _rows(conn: sa.Connection, from_ms: int, center: str | None) -> Iterator[Any]:
    d = schema.devices.c
    within: list[sa.ColumnElement[bool]] = [_e.received_ms.between(from_ms, from_ms + DAY_MS - 1)]
    if center is not None:
        within += [_e.device.in_(sa.select(d.device).where(d.center == center)), _e.center == center]
    query = sa.select(_e.center, _e.device, _e.spool, _e.first_seq, _e.last_seq, _e.signature)
    return iter(conn.execute(query.where(*within).order_by(_e.id), execution_options={"yield_per": 1000}))


def record_marks(conn: sa.Connection, from_ms: int) -> dict[str, list[str]]:
    """Of the records that were received on one day, by center."""
    by_center: dict[str, list[str]] = defaultdict(list)
    d = schema.devices.c
    query = sa.select(d.center, _r.started_ms, _r.signature).join_from(
        schema.records, schema.devices, d.device == _r.device
    )
    within = _r.received_ms.between(from_ms, from_ms + DAY_MS - 1)
    for row in conn.execute(query.where(within).order_by(_r.test_id)):
        by_center[row.center].append(leaves.record_mark(row.started_ms, bytes(row.signature)))
    return by_center


def close_days(store: Store, now_ms: int, most: int = 1) -> int:
    """Leaves for days that are over; returns how many days. The first day is that of the first start."""
    closed = 0
    while closed < most:
        with store.read() as conn:
            text = conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == LOGGED_UNTIL))
            from_ms = begins_ms(now_ms) if text is None else int(text)
            if text is not None and from_ms + DAY_MS + SETTLE_MS > now_ms:
                return closed
            by_center = digests(conn, from_ms) if text is not None else {}
            records = record_marks(conn, from_ms) if text is not None else {}
        day, next_ms = day_name(from_ms), from_ms + (DAY_MS if text is not None else 0)
        rows = [leaves.day_row(code, day, now_ms, one.batches, one.sha256) for code, one in sorted(by_center.items())]
        for code, marks in sorted(records.items()):
            rows += leaves.record_rows(code, day, now_ms, marks)
        with store.keep() as conn:
            bulk_insert(conn, schema.log_leaves, rows)
            upsert(conn, schema.about, [{"name": LOGGED_UNTIL, "value": str(next_ms)}])
        if text is None:
            return closed
        closed += 1
    return closed
