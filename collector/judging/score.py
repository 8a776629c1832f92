"""The integrity score: what a month's findings about a center come to. It fails nobody; it puts visits in order.

The weights are data (`integrity-weights.toml`), each score names their digest. Findings of one kind on one day count
once, so that a gateway which repeats one fault a thousand times looks no worse than its fault.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

import msgspec
import sqlalchemy as sa

from agent.common.center_time import CENTER_TIME, UTC_AHEAD_MS
from agent.common.files import parse_toml
from collector.store import schema, upsert

FILE = "integrity-weights.toml"
DAY_MS = 86_400_000

_i, _s = schema.integrity.c, schema.scores.c


@dataclass(frozen=True)
class Weight:
    """Points for each day with such a finding, up to `most` points a month."""

    points: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Weights:
    id: str
    official: bool
    visit_at: float  # points from which on a visit is advised
    of: Mapping[str, Weight]
    digest: str


class ScoreReason(msgspec.Struct, frozen=True):
    """A finding, on how many days it was found, and the points it makes."""

    finding: str
    days: int
    points: float


@dataclass(frozen=True, kw_only=True)
class Score:
    center: str
    month: str
    score: float
    reasons: tuple[ScoreReason, ...]


def shipped() -> Weights:
    body = resources.files(__package__).joinpath(FILE).read_bytes()
    values = parse_toml(body)
    rows = {name: Weight(float(row["points"]), float(row["most"])) for name, row in values["weights"].items()}
    return Weights(
        id=str(values["id"]),
        official=bool(values["official"]),
        visit_at=float(values["visit_at"]),
        of=rows,
        digest=hashlib.sha256(body).hexdigest(),
    )


def reasons_of(days: Mapping[str, int], weights: Weights) -> tuple[ScoreReason, ...]:
    """Pure. The reasons of a score, the heaviest first, of on how many days each finding was found."""
    rows = [
        ScoreReason(name, count, round(min(weights.of[name].most, count * weights.of[name].points), 2))
        for name, count in days.items()
        if name in weights.of and count
    ]
    return tuple(sorted(rows, key=lambda row: (-row.points, row.finding)))


def total(reasons: Iterable[ScoreReason]) -> float:
    return round(sum(row.points for row in reasons), 2)


# ---------------------------------------------------------------- what is stored


def month_of(at_ms: int) -> str:
    """The month by the centers' clock, as 2026-01."""
    return datetime.fromtimestamp(at_ms / 1000, CENTER_TIME).strftime("%Y-%m")


def month_span(month: str) -> tuple[int, int]:
    """From and to (exclusive) in milliseconds UTC. Raises ValueError for what is no YYYY-MM."""
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=CENTER_TIME)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return round(first.timestamp() * 1000), round(after.timestamp() * 1000)


def compute(conn: sa.Connection, month: str, weights: Weights) -> list[Score]:
    """The scores of all centers of which something was found in this month, the highest first."""
    from_ms, to_ms = month_span(month)
    query = sa.select(_i.center, _i.finding, _i.at_ms).where(
        _i.at_ms >= from_ms, _i.at_ms < to_ms, _i.center != "", _i.finding.in_(sorted(weights.of))
    )
    days: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for row in conn.execute(query, execution_options={"yield_per": 1000}):
        days[row.center][row.finding].add((row.at_ms + UTC_AHEAD_MS) // DAY_MS)
    scores = []
    for center, mine in days.items():
        reasons = reasons_of({name: len(some) for name, some in mine.items()}, weights)
        scores.append(Score(center=center, month=month, score=total(reasons), reasons=reasons))
    return sorted(scores, key=lambda one: (-one.score, one.center))


def make(conn: sa.Connection, now_ms: int, weights: Weights | None = None) -> int:
    """Writes the scores of the month that goes on, and of the one before in its first days; returns how many."""
    weights = weights or shipped()
    months = dict.fromkeys((month_of(now_ms - 3 * DAY_MS), month_of(now_ms)))
    rows = [
        {
            "center": one.center, "month": one.month, "score": one.score, "rules": weights.digest, "made_ms": now_ms,
            "reasons": msgspec.json.encode(one.reasons).decode(),
        }
        for month in months
        for one in compute(conn, month, weights)
    ]  # fmt: skip
    upsert(conn, schema.scores, rows)
    return len(rows)


def of_centers(conn: sa.Connection, month: str, codes: Collection[str]) -> Mapping[str, float]:
    """The scores of these centers as they were last made."""
    mine = (_s.month == month) & _s.center.in_(sorted(codes))
    return {row.center: row.score for row in conn.execute(sa.select(_s.center, _s.score).where(mine))}


def of_month(conn: sa.Connection, month: str, center: str = "") -> Sequence[Score]:
    """The scores as they were last made, the highest first: the list of visits."""
    query = sa.select(_s.center, _s.month, _s.score, _s.reasons).where(_s.month == month)
    query = query.where(_s.center == center) if center else query
    rows = conn.execute(query.order_by(_s.score.desc(), _s.center))
    return [
        Score(center=row.center, month=row.month, score=row.score,
              reasons=msgspec.json.decode(row.reasons, type=tuple[ScoreReason, ...]))
        for row in rows
    ]  # fmt: skip
