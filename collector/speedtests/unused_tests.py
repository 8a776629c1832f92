"""Speed tests that were granted and not made: who chooses which tests to make chooses the result.

Each is a sample that falls short, but for a few that its reason excuses (`MonthRule.unused`). None is one that the
center was not there to make, which the ledger counts already, nor one at a server that saw nobody at the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from collector.judging.server_samples import PURPOSES, failure_cause
from collector.speedtests.policy import HOLD_MS
from collector.store import schema

SETTLE_MS = 60 * 60_000  # for the server's record and the gateway's reading to come
SERVER_MS = 60 * 60_000  # a server that saw a test so near in time was there
NO_ANSWER, NO_RECORD = "no_answer", "no_record"  # of gateways that say nothing, and of those that claim a result

_g, _r, _s = schema.grants.c, schema.records.c, schema.readings["speed"].c


@dataclass(frozen=True, kw_only=True)
class UnusedTest:
    """`cause` is the failure that the gateway reported, or one of our own words."""

    center: str
    granted_ms: int
    cause: str
    subject: str


def of_centers(
    conn: sa.Connection, codes: Collection[str], from_ms: int, to_ms: int, now_ms: int
) -> dict[str, list[UnusedTest]]:
    """Those granted in this time, by center, in the order of time."""
    near = _r_near()
    query = (
        sa.select(_g.test_id, _g.center, _g.granted_ms)
        .outerjoin(schema.records, _r.test_id == _g.test_id)
        .where(
            _g.center.in_(codes), _g.granted_ms >= from_ms, _g.granted_ms < to_ms, _g.purpose.in_(PURPOSES),
            _g.granted_ms <= now_ms - HOLD_MS - SETTLE_MS, _r.test_id.is_(None), near,
        )
    )  # fmt: skip
    rows = conn.execute(query.order_by(_g.granted_ms, _g.test_id)).all()
    if not rows:
        return {}
    causes, lines = dict(_causes(conn, [row.test_id for row in rows])), _lines(conn, codes)
    tests: dict[str, list[UnusedTest]] = defaultdict(list)
    for row in rows:
        cause, subject = causes.get(row.test_id, (NO_ANSWER, lines.get(row.center, "")))
        tests[row.center].append(UnusedTest(center=row.center, granted_ms=row.granted_ms, cause=cause, subject=subject))
    return tests


def _r_near() -> sa.ColumnElement[bool]:
    other = schema.records.alias()
    within = other.c.started_ms.between(_g.granted_ms - SERVER_MS, _g.granted_ms + SERVER_MS)
    return sa.exists().where(other.c.server == _g.server, within)


def _causes(conn: sa.Connection, tests: Collection[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """What the readings of these tests say, with their line; the first one speaks."""
    query = sa.select(_s.test_id, _s.failure, _s.subject).where(_s.test_id.in_(tests))
    for row in conn.execute(query.order_by(_s.wall_ms.desc(), _s.device, _s.spool, _s.seq.desc())):
        yield row.test_id, (failure_cause(row.failure) or NO_RECORD, row.subject)


def _lines(conn: sa.Connection, codes: Collection[str]) -> Mapping[str, str]:
    """The line of each center's newest speed reading."""
    table = schema.latest.c
    query = sa.select(table.center, table.subject).where(table.center.in_(codes), table.kind == "speed")
    return {row.center: row.subject for row in conn.execute(query.order_by(table.wall_ms, table.subject.desc()))}
