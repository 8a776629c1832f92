"""What the centers around a gap say of the same time: who on its feeder lost the mains, who on its exchange or
provider went silent, and whether the collector heard anybody. A few questions for any number of gaps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from collector.judging.flags.cause import MIN_WITNESSES, NeighbourWitness
from collector.standard.criteria import EVERYONE
from collector.store import schema

NAMED = 5  # neighbours that evidence names
MIN_FLEET = 5  # centers that must have been known before silence of all of them says something about the collector
MOST = 100  # neighbours asked of one feeder, exchange or provider: more say nothing new

Span = tuple[int, int]  # from, to in milliseconds

_ce, _p, _g, _c, _l = schema.centers.c, schema.pulse.c, schema.gaps.c, schema.cuts.c, schema.latest.c


class Home(NamedTuple):
    """Where a center hangs."""

    center: str
    feeder: str
    exchange: str
    isp: str
    city: str
    province: str


@dataclass
class Around:
    """What is held of the neighbours."""

    feeder: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    exchange: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    province: dict[str, str] = field(default_factory=dict)
    isp: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    heard_ms: dict[str, int] = field(default_factory=dict)
    ups_ms: dict[str, int] = field(default_factory=dict)  # the newest reading of a UPS that could be read
    gaps: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))
    cuts: dict[str, list[tuple[int, int | None]]] = field(default_factory=lambda: defaultdict(list))


def witnesses(conn: sa.Connection, gaps: Sequence[tuple[str, Span]], gap_ms: int) -> list[NeighbourWitness]:
    """What is said of each (center, gap), in their order. After `gap_ms` without a word a center is silent."""
    if not gaps:
        return []
    query = sa.select(_ce.center, _ce.feeder, _ce.exchange, _ce.isp, _ce.city, _ce.province)
    query = query.where(_ce.center.in_([code for code, _ in gaps]))
    mine = {row.center: Home(*row) for row in conn.execute(query)}
    around = _around(conn, list(mine.values()))
    groups = (*around.feeder.values(), *around.exchange.values(), *around.isp.values())
    codes = {code for names in groups for code in names}
    _ask(conn, around, codes | {EVERYONE}, min(span[0] for _, span in gaps))
    return [
        _said(around, mine[code], span, gap_ms) if code in mine else NeighbourWitness(deaf_ms=_deaf_ms(around, span))
        for code, span in gaps
    ]


def _around(conn: sa.Connection, homes: Collection[Home]) -> Around:
    around = Around()
    for column, groups in ((_ce.feeder, around.feeder), (_ce.exchange, around.exchange)):
        named = {str(getattr(home, column.name)) for home in homes} - {""}
        query = sa.select(_ce.center, column, _ce.province).where(column.in_(named)).order_by(_ce.center)
        for center, name, province in conn.execute(query):
            groups[name].append(center)
            around.province[center] = province
    lines = {(home.isp, home.city) for home in homes if home.isp}
    lined = sa.select(_ce.center, _ce.isp, _ce.city).order_by(_ce.center)
    same = _ce.isp.in_([isp for isp, _ in lines]) & _ce.city.in_([city for _, city in lines])
    for center, isp, city in conn.execute(lined.where(same)):
        around.isp[isp, city].append(center)
    return around


def _ask(conn: sa.Connection, around: Around, codes: Collection[str], from_ms: int) -> None:
    names = list(codes)
    around.heard_ms |= _times(conn, sa.select(_p.center, _p.heard_ms).where(_p.center.in_(names)))
    read = (_l.kind == "ups") & _l.center.in_(names) & ~_l.body.contains('"failure"')
    powered = sa.select(_l.center, sa.func.max(_l.wall_ms)).where(read)
    around.ups_ms |= _times(conn, powered.group_by(_l.center))
    silent = sa.select(_g.center, _g.from_ms, _g.to_ms).where(_g.center.in_(names), _g.to_ms > from_ms).distinct()
    for center, start, end in conn.execute(silent):
        around.gaps[center].append((start, end))
    around.gaps[EVERYONE] = [gap for gap in around.gaps[EVERYONE] if _known_by(conn, gap[0]) >= MIN_FLEET]
    later = sa.or_(_c.to_ms.is_(None), _c.to_ms > from_ms)
    cut = sa.select(_c.center, _c.subject, _c.from_ms, _c.to_ms).where(_c.center.in_(names), later)
    newest = {(row.center, row.subject, row.from_ms): row.to_ms for row in conn.execute(cut.order_by(_c.revision))}
    for (center, _, start), end in newest.items():
        around.cuts[center].append((start, end))


def _known_by(conn: sa.Connection, at_ms: int) -> int:
    """How many centers had been heard by then."""
    return int(conn.scalar(sa.select(sa.func.count()).where(sa.func.coalesce(_p.first_ms, 0) <= at_ms)) or 0)


def _times(conn: sa.Connection, query: sa.Select[Any]) -> dict[str, int]:
    return {row[0]: row[1] for row in conn.execute(query)}


def _is_near(around: Around, row: Home, code: str) -> bool:
    """Whether a center of the same feeder or exchange is on the same one: another province has its own of that name."""
    provinces = {around.province[code], row.province} - {""}
    return code != row.center and len(provinces) < 2


def _said(around: Around, row: Home, span: Span, gap_ms: int) -> NeighbourWitness:
    feeder = [code for code in around.feeder.get(row.feeder, ()) if _is_near(around, row, code)][:MOST]
    cut = [code for code in feeder if _was_cut(around, code, span)]
    mains = [code for code in feeder if code not in cut and around.ups_ms.get(code, 0) >= span[1] - gap_ms]
    exchange, line = _on_the_line(around, row)
    silent = [code for code in line if _was_silent(around, code, span, gap_ms)]
    heard = [code for code in line if code not in silent and around.heard_ms.get(code, 0) > span[0]]
    return NeighbourWitness(
        feeder=row.feeder,
        feeder_cut=len(cut),
        feeder_mains=len(mains),
        feeder_named=tuple((cut if len(cut) >= len(mains) else mains)[:NAMED]),
        isp=row.isp,
        exchange=exchange,
        isp_silent=len(silent),
        isp_heard=len(heard),
        isp_named=tuple((silent if len(silent) >= len(heard) else heard)[:NAMED]),
        deaf_ms=_deaf_ms(around, span),
    )


def _on_the_line(around: Around, row: Home) -> tuple[str, list[str]]:
    """The others on a center's exchange, and its name, where they are enough to say something; else those on its
    provider in its city, and no name."""
    mates = [code for code in around.exchange.get(row.exchange, ()) if _is_near(around, row, code)][:MOST]
    if len(mates) >= MIN_WITNESSES:
        return row.exchange, mates
    return "", [code for code in around.isp.get((row.isp, row.city), ()) if code != row.center][:MOST]


def _was_cut(around: Around, code: str, span: Span) -> bool:
    return any(start < span[1] and (end is None or end > span[0]) for start, end in around.cuts.get(code, ()))


def _was_silent(around: Around, code: str, span: Span, gap_ms: int) -> bool:
    """For at least half of the time, or still. A center silent since long before is no witness."""
    heard_ms = around.heard_ms.get(code)
    if heard_ms is not None and span[0] - gap_ms <= heard_ms <= span[0] + gap_ms < span[1]:
        return True
    return any(2 * _overlap_ms(gap, span) >= span[1] - span[0] for gap in around.gaps.get(code, ()))


def _deaf_ms(around: Around, span: Span) -> int:
    return sum(_overlap_ms(gap, span) for gap in around.gaps.get(EVERYONE, ()))


def _overlap_ms(one: Span, other: Span) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))
