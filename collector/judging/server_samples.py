"""What a measurement server saw of a granted test counts, whatever the gateway says of it or leaves out.

A reading speaks for its test while its witness agrees and it claims no other purpose than the one granted. Of a
direction for which no reading speaks within a time of grace, the server's own figure is the sample. Like a witness it
is drawn from the facts each time it is needed, so a reading that comes later takes its place everywhere.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Param, Reason, decode, encode
from collector.judging.evaluate import FreshReading
from collector.judging.flags.witness import RULES, Rules, Witness
from collector.judging.server_check import SPEED_CLAIM, ClaimInContext, speeds, told_by, witnesses
from collector.store import schema

GRACE_MS = 60 * 60_000  # for a reading to come; not official
PURPOSES = ("routine", "retest", "desk")  # whose tests count; nobody can tell why a person tests by hand
NEVER_COUNTS = "implausible"  # a flag by which a gateway takes its own result out
KEPT_MS = 45 * 86_400_000  # how far back findings are looked at again
SPOOL = "server"  # in place of a spool's name, for what no gateway sent
FINDING = "unreported"
AT_ONCE = 200

_r, _g = schema.records.c, schema.grants.c


@dataclass(frozen=True, kw_only=True)
class SeenTest:
    """A test by its grant and its server's record. Rates in Mbit/s; None: too little was seen of that direction."""

    test_id: str
    center: str
    device: str
    purpose: str
    server: str
    started_ms: int
    down_mbps: float | None
    up_mbps: float | None
    subject: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one reading says of a test: `spoken` are the directions for which it can speak, `cause` its failure."""

    subject: str = ""
    purpose: str = ""
    spoken: frozenset[str] = frozenset()
    agrees: bool = False
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class ServerSample:
    """The figures of a test for which no reading speaks, and what was reported instead."""

    test: SeenTest
    down_mbps: float | None
    up_mbps: float | None
    reason: Reason

    @property
    def id(self) -> str:
        """Made as a reading's is: device, spool, number."""
        return f"{self.test.device} {SPOOL}:{self.test.test_id} 0"

    @property
    def witness(self) -> Witness:
        why = Reason.of("witness.by_server", server=self.test.server)
        return Witness(word="agrees", reason=why, server=self.test.server, down_mbps=self.down_mbps,
                       up_mbps=self.up_mbps)  # fmt: skip

    @property
    def fields(self) -> dict[str, object]:
        """Of a reading that says the same."""
        return {
            "download_mbps": self.down_mbps, "upload_mbps": self.up_mbps, "purpose": self.test.purpose,
            "engine": wire.ENGINE_OF_RECORD, "server": self.test.server, "test_id": self.test.test_id,
        }  # fmt: skip

    def fresh(self) -> FreshReading:
        reading = wire.SpeedReading(subject=self.test.subject, **self.fields)  # type: ignore[arg-type]
        at_ms = self.test.started_ms
        return FreshReading("speed", reading, at_ms, at_ms, self.id, self.witness)


def sample_of(test: SeenTest, reports: Iterable[Report]) -> ServerSample | None:
    """Pure. None when readings speak for all that the server saw."""
    reports = list(reports)
    spoken: set[str] = set()
    for report in reports:
        if report.agrees and report.purpose == test.purpose:
            spoken |= report.spoken
    down = None if "down" in spoken else test.down_mbps
    up = None if "up" in spoken else test.up_mbps
    if down is None and up is None:
        return None
    figures: dict[str, Param] = {"test": test.test_id, "server": test.server}
    return ServerSample(test=test, down_mbps=down, up_mbps=up, reason=_reason(reports, figures, down, up))


def _reason(reports: Sequence[Report], names: dict[str, Param], down: float | None, up: float | None) -> Reason:
    """What the gateway did with its result, and what its server saw of that test."""
    seen: dict[str, Param] = {"down_mbps": down, "up_mbps": up}
    failed = next((report.cause for report in reports if report.cause), "")
    if failed:
        return Reason("unreported.failed", names | seen | {"cause": failed})
    return Reason("unreported.otherwise" if reports else "unreported.silent", names | seen)


def failure_cause(text: object) -> str:
    """Of a reading's `failure` as its column has it; empty if it has none."""
    if not isinstance(text, str) or not text:
        return ""
    return str(json.loads(text).get("cause", "")) if text.startswith("{") else text


# ---------------------------------------------------------------- what is stored


def of_centers(
    conn: sa.Connection, codes: Collection[str], from_ms: int, to_ms: int, now_ms: int
) -> dict[str, list[ServerSample]]:
    """The samples of tests that began in this time, by center, in the order of time."""
    within = sa.and_(_r.started_ms >= from_ms, _r.started_ms < to_ms, _g.center.in_(codes))
    by_center: dict[str, list[ServerSample]] = defaultdict(list)
    for sample in _samples(conn, within, now_ms):
        by_center[sample.test.center].append(sample)
    return by_center


def due(conn: sa.Connection, now_ms: int) -> tuple[list[str], list[ServerSample]]:
    """Tests whose time of grace is over and that nobody has looked at since, and the samples of those that have one."""
    waiting = sa.and_(_r.sampled_ms.is_(None), _r.received_ms <= now_ms - GRACE_MS)
    tests = list(conn.scalars(sa.select(_r.test_id).where(waiting).order_by(_r.received_ms).limit(AT_ONCE)))
    return tests, _samples(conn, _r.test_id.in_(tests), now_ms) if tests else []


def record(conn: sa.Connection, tests: Sequence[str], samples: Iterable[ServerSample], now_ms: int) -> None:
    """Notes that these were looked at; each sample is a finding."""
    conn.execute(sa.update(schema.records).where(_r.test_id.in_(tests)).values(sampled_ms=now_ms))
    rows = [
        {
            "at_ms": now_ms, "center": one.test.center, "device": one.test.device, "finding": FINDING,
            "detail": encode(one.reason),
        }
        for one in samples
    ]  # fmt: skip
    if rows:
        conn.execute(sa.insert(schema.integrity), rows)


def forget_answered(conn: sa.Connection, now_ms: int) -> int:
    """Of tests for which a reading speaks after all, that it was lacking is no finding any more; returns how many. By
    housekeeping: who takes readings in can only add findings."""
    table = schema.integrity.c
    query = sa.select(table.id, table.detail).where(table.finding == FINDING, table.at_ms > now_ms - KEPT_MS)
    by_id = {row.id: str(decode(row.detail).params.get("test")) for row in conn.execute(query)}
    lacking = {
        sample.test.test_id
        for first in range(0, len(by_id), AT_ONCE)
        for sample in _samples(conn, _r.test_id.in_(list(by_id.values())[first : first + AT_ONCE]), now_ms)
    }
    answered = [number for number, test in by_id.items() if test not in lacking]
    if answered:
        conn.execute(sa.delete(schema.integrity).where(table.id.in_(answered)))
    return len(answered)


def _samples(
    conn: sa.Connection, which: sa.ColumnElement[bool], now_ms: int, rules: Rules = RULES
) -> list[ServerSample]:
    """Records that a server signed of a test within its grant, over a line that leaves the building."""
    table = schema.records.join(schema.grants, sa.and_(_g.test_id == _r.test_id, _g.device == _r.device))
    names = (_r.test_id, _g.center, _g.device, _g.purpose, _r.server, _r.started_ms, _r.down_mbps, _r.up_mbps)
    is_test = sa.and_(
        _r.witnessed.is_(True),
        _g.granted_ms.is_not(None),
        _g.purpose.in_(PURPOSES),
        _r.started_ms <= _g.expires_ms + rules.late_ms,
        sa.or_(_r.min_rtt_ms.is_(None), _r.min_rtt_ms >= rules.lan_rtt_ms),
        _r.received_ms <= now_ms - GRACE_MS,
    )
    rows = conn.execute(sa.select(*names).select_from(table).where(which, is_test)).all()
    tests = sorted((SeenTest(**row._mapping) for row in rows), key=lambda test: (test.started_ms, test.test_id))
    reports = _reports(conn, [test.test_id for test in tests], now_ms)
    samples = (sample_of(_with_line(conn, test, reports[test.test_id]), reports[test.test_id]) for test in tests)
    return [sample for sample in samples if sample is not None]


def _with_line(conn: sa.Connection, test: SeenTest, reports: Sequence[Report]) -> SeenTest:
    """The line that a reading of this test names, or else the newest speed reading of its gateway."""
    if reports:
        return replace(test, subject=reports[0].subject)
    table = schema.latest.c
    query = sa.select(table.subject).where(table.center == test.center, table.kind == "speed")
    newest = conn.scalar(query.order_by(table.wall_ms.desc(), table.subject).limit(1))
    return replace(test, subject=newest or "")


def _reports(conn: sa.Connection, tests: Sequence[str], now_ms: int) -> Mapping[str, list[Report]]:
    by_test: dict[str, list[Report]] = defaultdict(list)
    for first in range(0, len(tests), AT_ONCE):
        query = sa.select(*SPEED_CLAIM, speeds.subject, speeds.failure, speeds.flags)
        query = query.where(speeds.test_id.in_(tests[first : first + AT_ONCE]))
        ordered = query.order_by(speeds.wall_ms, speeds.device, speeds.spool, speeds.seq)
        rows: list[sa.Row[Any]] = list(conn.execute(ordered))
        claims = [told_by(row) for row in rows]
        seen = witnesses(conn, [claim for claim, row in zip(claims, rows, strict=True) if not row.failure], now_ms)
        for claim, row in zip(claims, rows, strict=True):
            by_test[claim.claim.test_id].append(_report(claim, row, seen.get(claim.claim.id)))
    return by_test


def _report(claim: ClaimInContext, row: sa.Row[Any], witness: Witness | None) -> Report:
    own = claim.claim
    figures = {"down": own.download_mbps, "up": own.upload_mbps}
    return Report(
        subject=row.subject,
        purpose=own.purpose,
        spoken=frozenset(name for name, value in figures.items() if value is not None),
        agrees=witness is not None and witness.word == "agrees" and NEVER_COUNTS not in json.loads(row.flags or "[]"),
        cause=failure_cause(row.failure),
    )
