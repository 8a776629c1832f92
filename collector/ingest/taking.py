"""A second story that a person has taken: the numbers of it that nothing else has filled are filed, dated as they came.

Flags stay as they are: old news is no news. Sums, gaps, cuts and reported months follow.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from agent import wire
from collector.common.messages import Device, Message
from collector.ingest import stories
from collector.ingest.flush import flush
from collector.ingest.rows import BatchWriter
from collector.ingest.spools import SpoolState
from collector.ingest.verify import addressed, open_message
from collector.judging import reopening
from collector.judging.outages import gaps
from collector.register import centers
from collector.store import schema

_s = schema.second_stories.c


def file(conn: sa.Connection, device: str, spool: str, now_ms: int) -> int:
    """Returns how many readings were filed, of which the story's row tells when."""
    d, p = schema.devices.c, schema.spools.c
    row: Any = conn.execute(sa.select(d.device, d.center, d.public_key, d.enrolled_ms).where(d.device == device)).one()
    sender = Device(row.device, row.center, bytes(row.public_key), row.enrolled_ms, None)
    mine = (p.center == row.center) & (p.device == device) & (p.spool == spool)
    count = 0
    for received_ms, issued_ms, sealed in stories.batches(conn, device, spool):
        state = SpoolState.of(conn.execute(sa.select(schema.spools).where(mine)).one())
        message = addressed(Message(wire.batch_topic(device), sealed))
        writer = BatchWriter(received_ms)
        writer.take(open_message(message, {device: sender}), state, issued_ms)
        fresh = [(one.wall_ms, one) for some in writer.fresh.values() for one in some]
        if not fresh:
            continue
        known = list(centers.some_centers(conn, [row.center]).values())
        reopening.record_group(conn, [(center, writer.fresh[center.code]) for center in known], now_ms)
        flush(conn, writer)
        times = [at_ms for at_ms, _ in fresh]
        moved = gaps.recompute(conn, {row.center: (min(times), max(times))}, now_ms)
        reopening.record_outages(conn, moved, now_ms)
        count += len(fresh)
    story = (_s.center == row.center) & (_s.device == device) & (_s.spool == spool)
    conn.execute(sa.update(schema.second_stories).where(story).values(filed_ms=now_ms))
    return count


def due(conn: sa.Connection) -> list[tuple[str, str]]:
    """(gateway, spool) of stories that people have taken and that are not filed yet."""
    mine = (_s.state == "taken", _s.filed_ms.is_(None))
    return [(row.device, row.spool) for row in conn.execute(sa.select(_s.device, _s.spool).where(*mine))]
