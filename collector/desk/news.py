"""Which changes of flags are still news when people could be told: old news is history, not a message (promise P5).

A live change is told at once. One of a reading that was kept for a while waits until the live readings of its stream
have spoken, or until the backlog is in: the center is heard live, no number of its spools is lacking that may still
come, and nothing kept has come for a while. Then it is told if it still stands. Who was never told that something began
is not told that it is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from collector.judging.flags import machine
from collector.standard import Standards
from collector.store import schema

LIVE_MS = 120_000  # a reading no older than this when it was judged is live
QUIET_MS = 60_000  # after the last of a backlog
HEARD_MS = 300_000  # a center whose newest reading is older than this has not caught up, or is dark
OVER = 0  # `queued_ms` of a change that was over before anybody could be told

Decision = Literal["tell", "over", "wait"]
Key = tuple[str, str, str]  # center, criterion, subject

_ch, _f, _l, _p = schema.changes.c, schema.flags.c, schema.latest.c, schema.pulse.c
_s = schema.spools.c


def decide(conn: sa.Connection, rows: Sequence[Any], standards: Standards, now_ms: int) -> dict[int, Decision]:
    """What becomes of each of these changes, which are in the order in which they arose."""
    decisions: dict[int, Decision] = {}
    raised: dict[Key, Decision] = {}
    for row in rows:
        key = row.center, row.criterion, row.subject
        if not machine.alerts(row.was, row.now):
            decisions[row.id] = "tell"
            continue
        if row.now == "clear" and (raised.get(key) or _last_raise(conn, key, row.id)) == "over":
            decisions[row.id] = "over"
            continue
        decisions[row.id] = _decide(conn, row, key, standards, now_ms)
        if row.now == "raised":
            raised[key] = decisions[row.id]
    return decisions


def _decide(conn: sa.Connection, row: Any, key: Key, standards: Standards, now_ms: int) -> Decision:
    if row.recorded_ms - row.at_ms <= LIVE_MS:
        return "tell"
    state = conn.scalar(sa.select(_f.state).where(_f.center == key[0], _f.criterion == key[1], _f.subject == key[2]))
    if state is not None and _AT_REST[state] != row.now:
        return "over"
    if state in ("pending", "recovering"):  # newer readings speak against it, not enough of them yet
        return "wait"
    return "tell" if _spoken(conn, row, standards) or _all_in(conn, row, now_ms) else "wait"


_AT_REST: Mapping[str, str] = {"clear": "clear", "pending": "clear", "raised": "raised", "recovering": "raised"}


def _last_raise(conn: sa.Connection, key: Key, before: int) -> Decision:
    mine = (_ch.center == key[0]) & (_ch.criterion == key[1]) & (_ch.subject == key[2]) & (_ch.id < before)
    last = sa.select(_ch.queued_ms).where(mine, _ch.now == "raised", _ch.was.in_(("clear", "pending")))
    return "over" if conn.scalar(last.order_by(_ch.id.desc()).limit(1)) == OVER else "tell"


def _spoken(conn: sa.Connection, row: Any, standards: Standards) -> bool:
    """Whether a live reading of the stream has come since: then the flag is as it is now."""
    standard = standards.at(row.recorded_ms)
    criterion = standard.by_id.get(row.criterion) if standard else None
    if criterion is None:
        return True
    mine = (_l.center == row.center) & (_l.kind == criterion.reading) & (_l.subject == row.subject)
    newest_ms = conn.scalar(sa.select(sa.func.max(_l.wall_ms)).where(mine))
    return newest_ms is not None and bool(newest_ms >= row.recorded_ms - LIVE_MS)


def _all_in(conn: sa.Connection, row: Any, now_ms: int) -> bool:
    backlog_ms = conn.scalar(sa.select(_p.backlog_ms).where(_p.center == row.center)) or 0
    if now_ms - max(backlog_ms, row.recorded_ms) < QUIET_MS:
        return False
    newest_ms = conn.scalar(sa.select(sa.func.max(_l.wall_ms)).where(_l.center == row.center)) or 0
    lacking = sa.select(_s.spool).where(_s.center == row.center, _s.hole_ms.is_not(None)).limit(1)
    return bool(newest_ms >= now_ms - HEARD_MS) and conn.execute(lacking).first() is None
