"""What the collector had receipted, lost by a restore, and no gateway holds any more: accounts, and the minutes of it.

A gateway's account names numbers and the times in which it took them. What counts of it: numbers that are held nowhere
here, times before the restore and between what is held on both sides of them. Without a restore on record an account
excuses nothing.

Of a gateway that was heard until the copy and never since the restore nobody can say what it had sent in between: that
time is ours too, without numbers, until the center is heard again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from agent import wire
from collector.common.sequence_ranges import Numbers, joined, missing, parse
from collector.reports.ledger import REACH_MS, Span
from collector.store import schema
from collector.store.cold import held

_s, _r, _p = schema.readings["shed"].c, schema.restores.c, schema.spools.c
QUIET_MS = 15 * 60_000  # a center that was not heard for so long when the copy was made had sent nothing to lose
_RESTORES = sa.select(_r.from_ms, _r.to_ms).order_by(_r.to_ms)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Readings of one spool by their numbers, and when they were taken: `times` in milliseconds, ends exclusive."""

    device: str
    spool: str
    parts: tuple[Numbers, ...]
    times: tuple[Span, ...]

    @property
    def count(self) -> int:
        return sum(last - first + 1 for first, last in self.parts)


def of_centers(conn: sa.Connection, codes: Sequence[str], from_ms: int, to_ms: int) -> dict[str, list[Loss]]:
    """The losses of these centers of which something was taken in this time."""
    spans = [(int(row.from_ms), int(row.to_ms)) for row in conn.execute(_RESTORES)]
    if not spans:
        return {}
    restores = [end for _, end in spans]
    columns = (_s.center, _s.device, _s.spool, _s.subject, _s.first_seq, _s.last_seq, _s.spans, _s.received_ms)
    mine = _s.center.in_(codes) & (_s.why == "receipted") & (_s.received_ms >= restores[0])
    accounts: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
    for row in conn.execute(sa.select(*columns).where(mine)):
        accounts[row.center, row.device, row.subject or row.spool].append(row)
    by_center: dict[str, list[Loss]] = defaultdict(list)
    for key, rows in sorted(accounts.items()):
        restored_ms = max(at_ms for at_ms in restores if at_ms <= max(row.received_ms for row in rows))
        loss = _loss(conn, key, rows, restored_ms)
        times = tuple((start, end) for start, end in loss.times if start < to_ms and end > from_ms)
        if loss.parts and times:
            by_center[key[0]].append(replace(loss, times=times))
    for code, loss in _unheard(conn, codes, [(start, end) for start, end in spans if start < to_ms and end > from_ms]):
        by_center[code].append(loss)
    return by_center


def _unheard(conn: sa.Connection, codes: Sequence[str], spans: Sequence[Span]) -> Iterator[tuple[str, Loss]]:
    """Centers that were not silent when the copy was made, and have not been heard since it was restored."""
    pulse = schema.pulse.c
    for start, end in spans:
        mine = (pulse.center.in_(codes), pulse.heard_ms.between(start - QUIET_MS, end))
        for row in conn.execute(sa.select(pulse.center, pulse.device).where(*mine).order_by(pulse.center)):
            yield row.center, Loss(device=row.device, spool="", parts=(), times=((start, end),))


def _loss(conn: sa.Connection, key: tuple[str, str, str], rows: Sequence[Any], restored_ms: int) -> Loss:
    """What is lacking of one spool of what its gateway has accounted for, once or again."""
    center, device, spool = key
    mine = (_p.center == center) & (_p.device == device) & (_p.spool == spool)
    ranges = parse(conn.scalar(sa.select(_p.ranges).where(mine)) or "[]")
    named = joined([(row.first_seq, row.last_seq) for row in rows])
    parts = [part for first, last in named for part in missing(ranges, first, last)]
    spans = {(start - REACH_MS, end + REACH_MS + 1) for row in rows for start, end in json.loads(row.spans or "[]")}
    within = [_between(conn, device, spool, part, restored_ms) for part in parts]
    times = {
        (max(start, low), min(end, high))
        for start, end in spans
        for low, high in within
        if max(start, low) < min(end, high)
    }
    return Loss(device=device, spool=spool, parts=tuple(parts), times=tuple(sorted(times)))


def _between(conn: sa.Connection, device: str, spool: str, part: Numbers, restored_ms: int) -> Span:
    """When these numbers can have been taken: after the one held before them and before the one after."""
    low, high = held.beside(conn, device, spool, part)
    from_ms = 0 if low is None else _taken_ms(low.body, -1) or 0
    to_ms = restored_ms if high is None else min(restored_ms, _taken_ms(high.body, 0) or restored_ms)
    return from_ms, to_ms


def _taken_ms(body: bytes, place: int) -> int | None:
    """When a reading of a batch was taken, by its own synchronised clock."""
    try:
        at = wire.decode_reading(bytes(wire.decode_frame(body).readings[place])).at
    except wire.WireError:
        return None
    return at.wall_ms if at is not None and at.clock == "synced" else None


def minutes(losses: Sequence[Loss]) -> list[Span]:
    """The times of all of them, for the ledger."""
    return sorted({span for loss in losses for span in loss.times})


def section(losses: Sequence[Loss], count: int) -> dict[str, Any]:
    """What a report says of them: readings lost, `count` open minutes for which nothing else is held, and the
    numbers."""
    rows = [
        {
            "device": loss.device,
            "spool": loss.spool,
            "first_seq": first,
            "last_seq": last,
            "from_ms": min(start for start, _ in loss.times),
            "to_ms": max(end for _, end in loss.times),
        }
        for loss in losses
        for first, last in loss.parts
    ]
    return {"readings": sum(loss.count for loss in losses), "minutes": count, "ranges": rows}
