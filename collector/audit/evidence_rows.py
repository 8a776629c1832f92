"""What the database holds of a center's batches: in their order, page by page, with what was held before them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from agent import wire
from collector.audit.replay import SpoolName, StoredBatch
from collector.ingest.boot_clocks import BootClocks
from collector.ingest.event_time import Ahead
from collector.ingest.spools import SpoolState
from collector.messages import Device
from collector.sequence_ranges import ChainedRun, Numbers, Range, joined, parse, run_of
from collector.store import schema

PAGE = 200
SLACK_MS = 600_000  # a reading is received at most so long before its own time: clocks run ahead

_e, _d, _b, _p, _s = (
    schema.evidence.c, schema.devices.c, schema.boots.c, schema.spools.c, schema.second_stories.c,
)  # fmt: skip


def senders(conn: sa.Connection, code: str) -> dict[str, Device]:
    """Every gateway that was ever enrolled at a center; that it was revoked later is no matter here."""
    query = sa.select(_d.device, _d.center, _d.public_key, _d.enrolled_ms).where(_d.center == code)
    rows = conn.execute(query.order_by(_d.device))
    return {row.device: Device(row.device, row.center, bytes(row.public_key), row.enrolled_ms, None) for row in rows}


def stories_of(conn: sa.Connection, code: str) -> frozenset[SpoolName]:
    rows = conn.execute(sa.select(_s.device, _s.spool).where(_s.center == code))
    return frozenset((row.device, row.spool) for row in rows)


def begin_ms(conn: sa.Connection, devices: Sequence[str], from_ms: int) -> int:
    """From which time of receipt on batches are to be taken in again to know what was taken from `from_ms` on: since
    the boots that went on then had begun. 0: from the first."""
    boot = schema.readings["boot"].c
    first_ms = from_ms - SLACK_MS
    begins = [
        conn.scalar(
            sa.select(sa.func.max(boot.received_ms)).where(boot.device == device, boot.received_ms < first_ms)
        )
        for device in devices
    ]  # fmt: skip
    return min((int(at_ms or 0) for at_ms in begins), default=0)


def boots_before(conn: sa.Connection, devices: Sequence[str], begin: int) -> BootClocks:
    """The clocks of boots of which nothing new was learnt since."""
    query = sa.select(_b.device, _b.boot, _b.ahead_ms, _b.sure).where(_b.device.in_(devices), _b.noted_ms < begin)
    return BootClocks({(row.device, row.boot): Ahead(row.ahead_ms, row.sure) for row in conn.execute(query)})


def ids_of(conn: sa.Connection, devices: Sequence[str], begin: int) -> list[int]:
    """Of the batches of these gateways that were received since then, in the order of their taking."""
    mine = _e.device.in_(devices) & (_e.received_ms >= begin)
    return sorted(conn.scalars(sa.select(_e.id).where(mine)))


def batches(conn: sa.Connection, ids: Sequence[int]) -> Iterator[StoredBatch]:
    """In the order of their ids, in a fixed memory."""
    for first in range(0, len(ids), PAGE):
        rows = conn.execute(sa.select(schema.evidence).where(_e.id.in_(ids[first : first + PAGE])).order_by(_e.id))
        for row in rows.mappings():
            values = {**row, "body": bytes(row["body"]), "signature": bytes(row["signature"])}
            yield StoredBatch(**values)


def held_numbers(conn: sa.Connection, code: str) -> dict[SpoolName, list[Numbers]]:
    """What was held of each spool of a center, as its receipts have said it."""
    rows = conn.execute(sa.select(_p.device, _p.spool, _p.ranges).where(_p.center == code))
    return {(row.device, row.spool): [(one.first, one.last) for one in parse(row.ranges)] for row in rows}


def spools_before(conn: sa.Connection, names: Sequence[SpoolName], first_id: int) -> dict[SpoolName, SpoolState]:
    """What was held of these spools before that batch, with the chain at the ends."""
    return {name: SpoolState(_ranges(conn, name, first_id)) for name in names}


def _ranges(conn: sa.Connection, name: SpoolName, first_id: int) -> list[Range]:
    mine = (_e.device == name[0]) & (_e.spool == name[1]) & (_e.id < first_id)
    rows = conn.execute(sa.select(_e.fresh).where(mine))
    numbers = joined([(part[0], part[1]) for row in rows for part in json.loads(row.fresh)])
    return [_range(conn, mine, part) for part in numbers]


def _range(conn: sa.Connection, mine: sa.ColumnElement[bool], part: Numbers) -> Range:
    before, after = (_run_with(conn, mine, number) for number in part)
    return Range(*part, before.after(part[0] - 1), after.after(part[1]))


def _run_with(conn: sa.Connection, mine: sa.ColumnElement[bool], number: int) -> ChainedRun:
    """Of the batch that was the first to bring that number."""
    near = _e.first_seq.between(number - wire.MAX_BATCH_READINGS, number) & (_e.last_seq >= number)
    rows = conn.execute(sa.select(_e.body, _e.fresh).where(mine, near).order_by(_e.id))
    bodies = [bytes(r.body) for r in rows if any(low <= number <= high for low, high in json.loads(r.fresh))]
    batch = wire.decode_frame(bodies[0])
    return run_of(batch.first_seq, batch.prev, [bytes(raw) for raw in batch.readings])
