"""Gaps and their causes, in the transaction of the reading that closes or revises them.

A center that is heard again after more than `gap_s` has had a gap. Its cause is named from what has come by then, again
with every late reading that was taken in it, and once more a while later, when the neighbours have come back too. What
happens to nearly every transaction, that no gap is touched, costs one question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason, decode_all, encode_all
from collector.flags import gap_facts
from collector.flags.cause import NOBODY, Cause, NeighbourWitness, name_cause
from collector.flags.gap_facts import GapFacts, Sign
from collector.judging.evaluate import CenterLike, FreshReading
from collector.outages import mains_cuts
from collector.outages.mains_cuts import Began
from collector.outages.neighbours import witnesses
from collector.standard.criteria import EVERYONE
from collector.store import schema, upsert

LOOK_AGAIN_MS = 300_000  # after the last news of a gap, its neighbours are asked once more
GAP_S = 180.0  # as the settings have it by default
HELD_UP_MS = 10_000  # a reading older than the last arrival by more than this was kept while nothing could be sent
LOOKS = 200  # gaps looked at again in one go
MIN_FLEET = 5  # centers that must be known before silence of all of them says something about the collector

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
    cuts = mains_cuts.record_group(conn, group, now_ms, gap_ms)
    heard = _heard(conn, [center.code for center, _ in group])
    known: list[Gap] = []
    late: dict[str, list[Sign]] = {}
    for center, fresh in group:
        heard_ms = heard.get(center.code)
        if heard_ms is not None and now_ms - heard_ms > gap_ms:
            facts = gap_facts.begin(heard_ms, now_ms, _before(conn, center.code))
            known.append(Gap(center.code, 1, gap_facts.fold(facts, signs_of(fresh)), NOBODY))
            continue
        late_ms = max(now_ms - gap_ms, (heard_ms or 0) - HELD_UP_MS)
        if signs := signs_of(reading for reading in fresh if reading.wall_ms < late_ms or reading.kind == "boot"):
            late[center.code] = signs
    if known:
        _note_deaf(conn, now_ms, gap_ms)
        known = _asked(conn, known, gap_ms)
    known += _revised(conn, late)
    _save(conn, known, now_ms, now_ms + LOOK_AGAIN_MS)
    return cuts + [(gap.center, gap.facts.from_ms) for gap in known]


def reconsider(conn: sa.Connection, now_ms: int, gap_s: float) -> list[Began]:
    """Names the causes of gaps that are due once more, by neighbours and seats; returns the gaps whose cause moved."""
    due = sa.select(_g.center, _g.from_ms).where(_g.look_ms <= now_ms).order_by(_g.look_ms).limit(LOOKS)
    keys = [tuple(row) for row in conn.execute(due)]
    found = _newest(conn, sa.tuple_(_g.center, _g.from_ms).in_(keys)) if keys else []
    found = [replace(gap, facts=gap_facts.fold(gap.facts, _latest(conn, gap.center, ("seats",)))) for gap in found]
    witnessed = _asked(conn, found, int(gap_s * 1000))
    moved = [gap for gap in witnessed if name_cause(gap.facts, gap.witness) != gap.named]
    _save(conn, witnessed, now_ms, None)
    return [(gap.center, gap.facts.from_ms) for gap in moved]


def likely(conn: sa.Connection, code: str, now_ms: int, gap_s: float = GAP_S) -> Cause | None:
    """Why a center that is silent now is so, as far as the last readings and the neighbours tell."""
    heard_ms = _heard(conn, [code]).get(code)
    if heard_ms is None:
        return None
    (witness,) = witnesses(conn, [(code, (heard_ms, now_ms))], int(gap_s * 1000))
    return name_cause(gap_facts.begin(heard_ms, now_ms, _before(conn, code)), witness)


def last(conn: sa.Connection, code: str) -> Cause | None:
    """The cause of a center's last gap."""
    query = sa.select(_g.cause, _g.grade, _g.evidence).where(_g.center == code)
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
    found = sorted(newest.values(), key=lambda gap: -gap.from_ms)
    return found if limit < 0 else found[:limit]


def _asked(conn: sa.Connection, gaps: Sequence[Gap], gap_ms: int) -> list[Gap]:
    """The gaps with what the neighbours say now."""
    answers = witnesses(conn, [(gap.center, (gap.facts.from_ms, gap.facts.to_ms)) for gap in gaps], gap_ms)
    return [replace(gap, witness=witness) for gap, witness in zip(gaps, answers, strict=True)]


# ---------------------------------------------------------------- signs


def signs_of(fresh: Iterable[FreshReading]) -> list[Sign]:
    return [gap_facts.sign_of(reading.reading, reading.kind, reading.at_ms, reading.id) for reading in fresh]


def _before(conn: sa.Connection, code: str) -> list[Sign]:
    """The newest readings that tell, which are the last ones before the gap while `latest` still has them."""
    return _latest(conn, code, ("ups", "link", "seats"))


def _latest(conn: sa.Connection, code: str, kinds: Sequence[str]) -> list[Sign]:
    query = sa.select(_l.kind, _l.device, _l.wall_ms, _l.received_ms, _l.body)
    rows = conn.execute(query.where(_l.center == code, _l.kind.in_(kinds))).all()
    found = []
    for row in rows:
        table = schema.readings[row.kind].c
        named = sa.select(table.spool, table.seq).where(
            table.wall_ms == row.wall_ms, table.center == code, table.device == row.device
        )
        first = conn.execute(named.limit(1)).first()
        id = f"{row.device} {first.spool} {first.seq}" if first else row.device
        reading = wire.decode_reading(row.body.encode())
        found.append(gap_facts.sign_of(reading, row.kind, min(row.wall_ms, row.received_ms), id))
    return found


def _heard(conn: sa.Connection, codes: Sequence[str]) -> dict[str, int]:
    return {row.center: row.heard_ms for row in conn.execute(_HEARD, {"codes": codes})}


_HEARD = sa.select(_p.center, _p.heard_ms).where(_p.center.in_(sa.bindparam("codes", expanding=True)))


def _note_deaf(conn: sa.Connection, now_ms: int, gap_ms: int) -> None:
    """If nobody at all has been heard for as long, the gap is the collector's own, and is written as such."""
    newest_ms, known = conn.execute(sa.select(sa.func.max(_p.heard_ms), sa.func.count())).one()
    if newest_ms is None or known < MIN_FLEET or now_ms - newest_ms <= gap_ms:
        return
    evidence = encode_all([Reason.of("evidence.nobody", n=known)])
    row = {
        "center": EVERYONE, "from_ms": newest_ms, "revision": 1, "to_ms": now_ms, "cause": "collector",
        "grade": "shown", "evidence": evidence, "facts": "{}", "witness": "{}",
        "recorded_ms": now_ms, "look_ms": None,
    }  # fmt: skip
    upsert(conn, schema.gaps, [row])


# ---------------------------------------------------------------- reading and writing


def _revised(conn: sa.Connection, late: Mapping[str, Sequence[Sign]]) -> list[Gap]:
    """The gaps that these readings were taken in, with them."""
    if not late:
        return []
    oldest_ms = min(sign.at_ms for signs in late.values() for sign in signs)
    mine = _g.center.in_(list(late)) & (_g.to_ms >= oldest_ms - gap_facts.SLACK_MS)
    found = []
    for gap in _newest(conn, mine):
        facts = gap_facts.fold(gap.facts, late[gap.center])
        if facts != gap.facts:
            found.append(replace(gap, facts=facts))
    return found


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
        conn.execute(settled.values(look_ms=None), old)
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
