"""Gaps and their causes, in the transaction of the reading that closes or revises them.

A center that is heard again after more than `gap_s` has had a gap. Its cause is named from what has come by then, again
with every late reading that was taken in it, and once more a while later, when the neighbours have come back too. What
happens to nearly every transaction, that no gap is touched, costs one question.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from agent.common.reasons import Reason, decode_all, encode_all
from collector.judging.evaluate import CenterLike, FreshReading
from collector.judging.flags import gap_facts
from collector.judging.flags.cause import NOBODY, Cause, NeighbourWitness, name_cause
from collector.judging.flags.gap_facts import GapFacts, Sign
from collector.judging.outages import gap_signs, mains_cuts
from collector.judging.outages.mains_cuts import Began
from collector.judging.outages.neighbours import witnesses
from collector.standard.criteria import EVERYONE
from collector.store import schema, upsert, warm
from collector.store.queries import last_beacon

LOOK_AGAIN_MS = 300_000  # after the last news of a gap, its neighbours are asked once more
GAP_S = 180.0  # as the settings have it by default
LOOKS = 200  # gaps looked at again in one go

Span = tuple[int, int]  # from, to in milliseconds

_g, _p, _l = schema.gaps.c, schema.pulse.c, schema.latest.c


@dataclass(frozen=True)
class Gap:
    """The newest revision of a gap."""

    center: str
    revision: int
    facts: GapFacts
    witness: NeighbourWitness
    named: Cause | None = None  # None: it is new


def record_group(
    conn: sa.Connection, group: Sequence[tuple[CenterLike, Sequence[FreshReading]]], now_ms: int, gap_s: float
) -> list[Began]:
    """Records what a transaction brings, before `pulse` and `latest` know of it; returns the gaps and cuts that are
    told otherwise than before: months reported already may have to be revised for them."""
    gap_ms = int(gap_s * 1000)
    moved = mains_cuts.record_group(conn, group, now_ms)
    heard = _heard(conn, [center.code for center, _ in group])
    fresh = gap_signs.FreshSigns({center.code: some for center, some in group})
    known = _touched(conn, fresh)
    new: list[Gap] = []
    apart = [pulse for pulse in heard.values() if abs(now_ms - pulse.heard_ms) > gap_ms]
    _note_deaf(conn, now_ms, gap_ms, is_first=bool(apart) or len(heard) < len(group))
    for code, pulse in heard.items():
        if now_ms < pulse.heard_ms:
            split, parts = _in_the_past(conn, code, pulse, fresh[code], now_ms)
            known = [gap for gap in known if (gap.center, gap.facts.from_ms) not in split]
            moved += split
        else:
            passed_ms = now_ms - pulse.heard_ms
            is_gap = passed_ms > gap_ms and passed_ms - _jumped_ms(conn, pulse.heard_ms, now_ms) > gap_ms
            parts = [_begun(conn, code, (pulse.heard_ms, now_ms), fresh[code])] if is_gap else []
        new += [Gap(code, 1, facts, NOBODY) for facts in parts if facts.to_ms - facts.from_ms > gap_ms]
    if new:
        known += _with_witness(conn, new, gap_ms)
    _save(conn, known, now_ms, now_ms + LOOK_AGAIN_MS)
    return moved + [(gap.center, gap.facts.from_ms) for gap in known]


def reconsider(conn: sa.Connection, now_ms: int, gap_s: float) -> list[Began]:
    """Names the causes of gaps that are due once more, by neighbours; returns the gaps whose cause moved."""
    due = sa.select(_g.center, _g.from_ms).where(_g.look_ms <= now_ms).order_by(_g.look_ms).limit(LOOKS)
    keys = [tuple(row) for row in conn.execute(due)]
    gaps = _newest(conn, sa.tuple_(_g.center, _g.from_ms).in_(keys)) if keys else []
    witnessed = _with_witness(conn, gaps, int(gap_s * 1000))
    moved = [gap for gap in witnessed if name_cause(gap.facts, gap.witness) != gap.named]
    _save(conn, witnessed, now_ms, None)
    return [(gap.center, gap.facts.from_ms) for gap in moved]


def recompute(
    conn: sa.Connection, spans: Mapping[str, tuple[int, int]], now_ms: int, gap_s: float = GAP_S
) -> list[Began]:
    """Computes cuts and gaps of these centers in these times again from what is written; returns those that are told
    otherwise."""
    moved = mains_cuts.recompute(conn, spans, now_ms)
    known = []
    for code, (from_ms, to_ms) in sorted(spans.items()):
        first_ms, last_ms = gap_facts.reach(from_ms, to_ms)
        near = _newest(
            conn,
            (_g.center == code)
            & (_g.to_ms >= from_ms - (last_ms - to_ms))
            & (_g.from_ms <= to_ms + (from_ms - first_ms)),
        )
        for gap in near:
            facts = _whole(conn, code, (gap.facts.from_ms, gap.facts.to_ms), ())
            known += [replace(gap, facts=facts)] if facts != gap.facts else []
    known = _with_witness(conn, known, int(gap_s * 1000))
    _save(conn, known, now_ms, now_ms + LOOK_AGAIN_MS)
    return moved + [(gap.center, gap.facts.from_ms) for gap in known]


def likely(conn: sa.Connection, code: str, now_ms: int, gap_s: float = GAP_S) -> Cause | None:
    """Why a center that is silent now is so, as far as the last readings and the neighbours tell; None for one that is
    heard."""
    return likely_of(conn, [code], now_ms, gap_s).get(code)


def likely_of(conn: sa.Connection, codes: Collection[str], now_ms: int, gap_s: float = GAP_S) -> dict[str, Cause]:
    """`likely` of those that are silent; their neighbours are asked once for all."""
    gap_ms = int(gap_s * 1000)
    heard = _heard(conn, list(codes)) if codes else {}
    spans = [(code, (one.heard_ms, now_ms)) for code, one in heard.items() if now_ms - one.heard_ms > gap_ms]
    answers = witnesses(conn, spans, gap_ms)
    causes = {}
    for (code, span), witness in zip(spans, answers, strict=True):
        facts, beacon = _begun(conn, code, span, ()), last_beacon(conn, code, span[0])
        if beacon is not None:
            facts = replace(facts, alive_ms=beacon.heard_ms, clock_off_s=beacon.clock_off_s)
        causes[code] = name_cause(facts, witness)
    return causes


# ---------------------------------------------------------------- what a transaction says of gaps


class Pulse(NamedTuple):
    """When a center was first and last heard; `first_ms` None: not known."""

    first_ms: int | None
    heard_ms: int


def _begun(conn: sa.Connection, code: str, span: Span, signs: Sequence[Sign]) -> GapFacts:
    """A gap that ends now: nothing was taken in it that came before. `latest` has the last readings before it."""
    before = gap_signs.latest(conn, code, ("link", "seats"))
    ups = gap_signs.of_ups(conn, code, span, signs)
    return replace(gap_facts.fold(GapFacts(from_ms=span[0], to_ms=span[1]), [*before, *signs]), power=_runs(ups, span))


def _touched(conn: sa.Connection, fresh: gap_signs.FreshSigns) -> list[Gap]:
    """The gaps that these readings say something new of, with it; most transactions touch none."""
    after_ms = gap_facts.reach(0, 0)[1]
    gaps = []
    last_ms = warm.recall(conn, "gaps", fresh.oldest_ms, partial(ended, conn))
    near = [code for code, ended_ms in last_ms.items() if ended_ms >= fresh.oldest_ms[code] - after_ms]
    oldest_ms = min((fresh.oldest_ms[code] for code in near), default=0)
    for gap in _newest(conn, _g.center.in_(near) & (_g.to_ms >= oldest_ms - after_ms)) if near else ():
        facts = _with(conn, gap, fresh[gap.center])
        gaps += [replace(gap, facts=facts)] if facts != gap.facts else []
    return gaps


def ended(conn: sa.Connection, codes: Sequence[str]) -> dict[str, int]:
    """By center: when its last gap ended, -1 without one."""
    last = sa.select(_g.center, sa.func.max(_g.to_ms)).where(_g.center.in_(list(codes))).group_by(_g.center)
    return dict.fromkeys(codes, -1) | {row[0]: row[1] for row in conn.execute(last)}


def _with(conn: sa.Connection, gap: Gap, signs: Sequence[Sign]) -> GapFacts:
    span = gap.facts.from_ms, gap.facts.to_ms
    facts = gap_facts.fold(gap.facts, signs)
    if (known := gap_facts.with_runs(facts, signs)) is not None:
        return known
    return replace(facts, power=_runs(gap_signs.of_ups(conn, gap.center, span, signs), span))


def _in_the_past(
    conn: sa.Connection, code: str, pulse: Pulse, signs: Sequence[Sign], now_ms: int
) -> tuple[list[Began], list[GapFacts]]:
    """What arrives by a clock that is behind what was heard already (evidence that is taken in again, or our own clock
    put back): a gap that it lies in is split, and the center was heard from then on. Returns (what was split, the
    parts)."""
    if pulse.first_ms is not None and now_ms < pulse.first_ms:
        conn.execute(sa.update(schema.pulse).where(_p.center == code).values(first_ms=now_ms))
        return [], [_whole(conn, code, (now_ms, pulse.first_ms), signs)]
    split = _newest(conn, (_g.center == code) & (_g.from_ms < now_ms) & (_g.to_ms > now_ms))
    parts = []
    for gap in split:
        gone = sa.delete(schema.gaps).where(_g.center == code, _g.from_ms == gap.facts.from_ms)
        conn.execute(gone, execution_options={warm.CENTERS: [code]})
        parts += [(gap.facts.from_ms, now_ms), (now_ms, gap.facts.to_ms)]
    return [(code, gap.facts.from_ms) for gap in split], [_whole(conn, code, span, signs) for span in parts]


def _jumped_ms(conn: sa.Connection, from_ms: int, to_ms: int) -> int:
    """By how much our own clock was set ahead within this time, as far as what was heard was not moved along."""
    j = schema.clock_jumps.c
    mine = (j.from_ms >= from_ms) & (j.to_ms <= to_ms) & (j.to_ms > j.from_ms)
    return int(conn.scalar(sa.select(sa.func.sum(j.to_ms - j.from_ms)).where(mine)) or 0)


def last(conn: sa.Connection, code: str, since_ms: int = 0) -> Cause | None:
    """The cause of a center's last gap that ended after `since_ms`."""
    query = sa.select(_g.cause, _g.grade, _g.evidence).where(_g.center == code, _g.to_ms > since_ms)
    row = conn.execute(query.order_by(_g.from_ms.desc(), _g.revision.desc()).limit(1)).first()
    return None if row is None else Cause(name=row.cause, grade=row.grade, evidence=decode_all(row.evidence))


@dataclass(frozen=True)
class GapView:
    """A gap as people see it: its newest revision, and how often its cause was put right."""

    from_ms: int
    to_ms: int
    revision: int
    cause: Cause


def gaps_of(conn: sa.Connection, code: str, from_ms: int = 0, to_ms: int = 2**53, limit: int = -1) -> list[GapView]:
    """The gaps of a center that began in this time, newest first."""
    query = sa.select(_g.from_ms, _g.to_ms, _g.revision, _g.cause, _g.grade, _g.evidence)
    mine = query.where(_g.center == code, _g.from_ms >= from_ms, _g.from_ms < to_ms)
    rows = conn.execute(mine.order_by(_g.from_ms, _g.revision))
    newest = {
        row.from_ms: GapView(
            row.from_ms,
            row.to_ms,
            row.revision,
            Cause(name=row.cause, grade=row.grade, evidence=decode_all(row.evidence)),
        )
        for row in rows
    }
    gaps = sorted(newest.values(), key=lambda gap: -gap.from_ms)
    return gaps if limit < 0 else gaps[:limit]


def judged(conn: sa.Connection, code: str, from_ms: int, to_ms: int) -> list[GapView]:
    """`gaps_of`, oldest first, each with its cause as its neighbours tell it now, whoever came first."""
    mine = _newest(conn, (_g.center == code) & (_g.from_ms >= from_ms) & (_g.from_ms < to_ms))
    return [
        GapView(gap.facts.from_ms, gap.facts.to_ms, gap.revision, name_cause(gap.facts, gap.witness))
        for gap in _with_witness(conn, sorted(mine, key=lambda gap: gap.facts.from_ms), int(GAP_S * 1000))
    ]


def _with_witness(conn: sa.Connection, gaps: Sequence[Gap], gap_ms: int) -> list[Gap]:
    """The gaps with what the neighbours say now."""
    answers = witnesses(conn, [(gap.center, (gap.facts.from_ms, gap.facts.to_ms)) for gap in gaps], gap_ms)
    return [replace(gap, witness=witness) for gap, witness in zip(gaps, answers, strict=True)]


# ---------------------------------------------------------------- rows


def _runs(signs: Iterable[Sign], span: Span) -> dict[str, tuple[gap_facts.BatteryRun, ...]]:
    return gap_facts.runs_of(signs, *span)


def _whole(conn: sa.Connection, code: str, span: Span, fresh: Sequence[Sign]) -> GapFacts:
    """What all that is held, and this transaction, say of a gap."""
    signs = {sign.id: sign for kind in schema.readings for sign in gap_signs.written(conn, kind, code, span)}
    return gap_facts.facts_of(*span, list((signs | {sign.id: sign for sign in fresh}).values()))


def _heard(conn: sa.Connection, codes: Sequence[str]) -> dict[str, Pulse]:
    return {row.center: Pulse(row.first_ms, row.heard_ms) for row in conn.execute(_HEARD, {"codes": codes})}


_HEARD = sa.select(_p.center, _p.first_ms, _p.heard_ms).where(_p.center.in_(sa.bindparam("codes", expanding=True)))


def _note_deaf(conn: sa.Connection, now_ms: int, gap_ms: int, *, is_first: bool) -> None:
    """The times in which nobody at all was heard are the collector's own gaps: what the arrivals leave between them, in
    whatever order they are told of. `is_first`: of somebody, for the first time or after a gap. Whether there were
    enough centers for it to say something is for those to ask who read it."""
    spans: list[Span] = []
    mine = _g.center == EVERYONE
    split = conn.execute(sa.select(_g.from_ms, _g.to_ms).where(mine, _g.from_ms < now_ms, _g.to_ms > now_ms)).all()
    for row in split:
        gone = sa.delete(schema.gaps).where(mine, _g.from_ms == row.from_ms)
        conn.execute(gone, execution_options={warm.CENTERS: [EVERYONE]})
        spans += [(row.from_ms, now_ms), (now_ms, row.to_ms)]
    if is_first and not split:
        first_ms, newest_ms = conn.execute(sa.select(sa.func.min(_p.first_ms), sa.func.max(_p.heard_ms))).one()
        if newest_ms is not None and now_ms > newest_ms:
            spans.append((newest_ms, now_ms))
        elif first_ms is not None and now_ms < first_ms:
            spans.append((now_ms, first_ms))
    if not spans:
        return
    known = conn.scalar(sa.select(sa.func.count()).select_from(schema.pulse)) or 0
    evidence = encode_all([Reason.of("evidence.nobody", n=known)])
    shared = {
        "center": EVERYONE, "revision": 1, "cause": "collector", "grade": "shown", "evidence": evidence,
        "facts": "{}", "witness": "{}", "recorded_ms": now_ms, "look_ms": None,
    }  # fmt: skip
    upsert(conn, schema.gaps, [{**shared, "from_ms": a, "to_ms": b} for a, b in spans if b - a > gap_ms])


# ---------------------------------------------------------------- reading and writing


def _newest(conn: sa.Connection, mine: sa.ColumnElement[bool]) -> list[Gap]:
    query = sa.select(_g.center, _g.from_ms, _g.revision, _g.cause, _g.grade, _g.evidence, _g.facts, _g.witness)
    rows = conn.execute(query.where(mine, _g.center != EVERYONE).order_by(_g.center, _g.from_ms, _g.revision))
    newest = {(row.center, row.from_ms): row for row in rows}
    return [
        Gap(
            row.center,
            row.revision,
            msgspec.json.decode(row.facts, type=GapFacts),
            msgspec.json.decode(row.witness, type=NeighbourWitness),
            Cause(name=row.cause, grade=row.grade, evidence=decode_all(row.evidence)),
        )
        for row in newest.values()
    ]


def _save(conn: sa.Connection, gaps: Iterable[Gap], now_ms: int, look_ms: int | None) -> None:
    """A cause or weight that moved becomes a new revision; one that stands keeps its number."""
    rows, old = [], []
    for gap in gaps:
        named = name_cause(gap.facts, gap.witness)
        stands = gap.named is None or (gap.named.name, gap.named.grade) == (named.name, named.grade)
        if not stands:
            old.append({"code": gap.center, "began_ms": gap.facts.from_ms})
        rows.append(_row(replace(gap, revision=gap.revision + (not stands)), named, now_ms, look_ms))
    if old:
        settled = sa.update(schema.gaps).where(
            _g.center == sa.bindparam("code"), _g.from_ms == sa.bindparam("began_ms")
        )
        codes = {row["code"] for row in old}
        conn.execute(settled.values(look_ms=None), old, execution_options={warm.CENTERS: codes})
    upsert(conn, schema.gaps, rows)


def _row(gap: Gap, named: Cause, now_ms: int, look_ms: int | None) -> dict[str, Any]:
    return {
        "center": gap.center,
        "from_ms": gap.facts.from_ms,
        "revision": gap.revision,
        "to_ms": gap.facts.to_ms,
        "cause": named.name,
        "grade": named.grade,
        "evidence": encode_all(named.evidence),
        "facts": _text(gap.facts),
        "witness": _text(gap.witness),
        "recorded_ms": now_ms,
        "look_ms": look_ms,
    }


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
