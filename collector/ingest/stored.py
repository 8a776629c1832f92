"""What the evidence holds of the numbers that a batch names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

from agent import wire
from collector.ingest.spools import SpoolState
from collector.ingest.verify import VerifiedBatch
from collector.sequence_ranges import forks, missing
from collector.store import schema

Row = dict[str, object]


@dataclass
class Stored:
    """What the evidence holds of the numbers a batch names: each reading's bytes, and the batches they came in."""

    raws: dict[int, bytes] = field(default_factory=dict)
    bodies: set[bytes] = field(default_factory=set)


def stored_raws(conn: sa.Connection, pending: Iterable[Row], verified: VerifiedBatch, spool: SpoolState) -> Stored:
    """What is held of the numbers this batch names: in the database, and in the evidence `pending` of this
    transaction."""
    run, batch = verified.run, verified.batch
    gaps = missing(spool.ranges, run.first, run.last)
    if gaps == [(run.first, run.last)] and not forks(spool.ranges, run) and not spool.is_disputed:
        return Stored()
    table = schema.evidence.c
    query = sa.select(table.body, table.fresh, table.first_seq).where(
        table.device == verified.device.device,
        table.spool == batch.spool,
        table.first_seq.between(run.first - wire.MAX_BATCH_READINGS, run.last),
        table.last_seq >= run.first,
    )
    rows = [(bytes(row.body), str(row.fresh), int(row.first_seq)) for row in conn.execute(query)]
    mine = (row for row in pending if (row["device"], row["spool"]) == (batch.device, batch.spool))
    rows += [(bytes(row["body"]), str(row["fresh"]), int(row["first_seq"])) for row in mine]  # type: ignore[call-overload]
    stored = Stored()
    for body, fresh, first in rows:
        stored.bodies.add(body)
        stored.raws |= fresh_raws(body, fresh, first)
    wanted = range(run.first, run.last + 1)
    stored.raws = {seq: raw for seq, raw in stored.raws.items() if seq in wanted}
    return stored


def fresh_raws(body: bytes, fresh: str, first: int) -> dict[int, bytes]:
    """The readings that this evidence was the first to bring, by number."""
    raws = wire.decode_frame(body).readings
    return {seq: bytes(raws[seq - first]) for start, end in json.loads(fresh) for seq in range(start, end + 1)}
