"""A random share of the centers, verified by itself each night; what is found goes to the desk as an incident of the
collector, and into the center's findings about honesty."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from agent.common.reasons import UNREADABLE, Reason, encode
from collector.common import months
from collector.judging import evaluate
from collector.judging.flags import machine
from collector.judging.flags.judge import judge
from collector.reports.audit.verify import Verification
from collector.standard import Standards
from collector.standard.criteria import AUDIT, Audit
from collector.store import schema, upsert

LAST = "audit"  # in `about`: the newest night's result
BACK_MS = 2 * 86_400_000  # the month of so long ago: its day sheets are made


class NightResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a night's audit looked at: centers, and those of them where something differs; `took_s` seconds."""

    at_ms: int
    month: str
    centers: int = 0
    differing: tuple[str, ...] = ()
    took_s: float = 0.0


@dataclass(frozen=True)
class Sample:
    """The centers drawn, and the month that is verified."""

    month: str
    codes: Sequence[str]


def drawn(conn: sa.Connection, share_pct: float, now_ms: int, draw: random.Random) -> Sample:
    """At least one center with a gateway; nobody can know beforehand which."""
    d, c = schema.devices.c, schema.centers.c
    query = sa.select(d.center).join_from(schema.devices, schema.centers, d.center == c.center)
    codes = sorted(set(conn.scalars(query.where(d.enrolled_ms < now_ms - BACK_MS))))
    count = min(len(codes), max(1, round(len(codes) * share_pct / 100)))
    return Sample(months.named(now_ms - BACK_MS), sorted(draw.sample(codes, count)))


def last(conn: sa.Connection) -> NightResult | None:
    text = conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == LAST))
    try:
        return msgspec.json.decode(text, type=NightResult) if text else None
    except UNREADABLE:
        return None


def record(conn: sa.Connection, result: NightResult) -> None:
    upsert(conn, schema.about, [{"name": LAST, "value": msgspec.json.encode(result).decode()}])


def reason_of(done: Verification) -> Reason | None:
    """In one sentence, with the first cause; None where nothing differs."""
    first = done.found.first
    if first is None:
        return None
    count = sum(done.found.counts.values())
    return Reason.of("audit.differs", center=done.center, month=done.month, n=count, first=first.reason)


def tell(conn: sa.Connection, done: Verification, standards: Standards, now_ms: int) -> int:
    """Raises or clears the flag of this center's audit, in the caller's transaction; returns how many flags moved."""
    reason, standard = reason_of(done), standards.at(now_ms) or standards.versions[-1]
    bench = evaluate.load(conn, [evaluate.EveryCenter()])[0]
    if reason is None and (AUDIT.id, done.center) not in bench.flags:
        return 0
    if reason is not None:
        about = {"at_ms": now_ms, "center": done.center, "finding": "evidence_altered", "detail": encode(reason)}
        conn.execute(sa.insert(schema.integrity).values(about))
    held = bench.held(AUDIT, done.center, now_ms)
    verdict = judge(AUDIT, Audit(float(sum(done.found.counts.values()))), evaluate.EveryCenter())
    verdict = dataclasses.replace(verdict, reason=reason or verdict.reason)
    bench.apply(AUDIT, done.center, verdict, machine.step(held.flag, verdict, AUDIT, now_ms), standard.id)
    return evaluate.save(conn, [bench], now_ms)
