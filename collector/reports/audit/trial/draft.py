"""A draft of a standard over past days, from their day sheets: whose verdict would be another, by district and owner.

A sheet has how often each value was found, to a thousandth, so another figure, share or rule of months can be applied.
What a draft asks of other readings, or counts in another way, no sheet tells: such a criterion is named, and left out.
A test that shows only a lower bound counts as short of a higher figure. The period is held against the rules of a month
as a whole.
"""

from __future__ import annotations

import math
import operator
import zlib
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import sqlalchemy as sa

from collector.judging.flags.judge import bound_of
from collector.register.centers import Center
from collector.reports.day_sheets import Samples, SheetTally, numbers_of, tallies_of, uncollected
from collector.reports.ledger import BUCKETS
from collector.reports.monthly_verdicts import NOT_ENOUGH, decide
from collector.standard.criteria import Criterion, Standard
from collector.store import schema

WORST = ("below", "watch", NOT_ENOUGH, "meets")  # a center is what its worst criterion is
AT_ONCE = 50  # centers whose sheets are in memory

_d = schema.day_sheets.c

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Bounds:
    """Of a criterion whose figure is another: what a center's values were held against, and what they would be; `edges`
    are the first thousandths past each bound (None: there is no bound)."""

    at_least: bool
    both: tuple[float | None, float | None]
    edges: tuple[int | None, int | None]

    def met(self, tally: SheetTally, values: Sequence[float], counts: Sequence[int]) -> tuple[int, int]:
        """Samples that meet each; no bound: none of them does."""
        was, now = (0 if bound is None or edge is None else self._met(tally, values, counts, bound, edge)
                    for bound, edge in zip(self.both, self.edges, strict=True))  # fmt: skip
        return was, now

    def _met(self, tally: SheetTally, values: Sequence[float], counts: Sequence[int], bound: float, edge: int) -> int:
        if tally.codes[0] == "d":
            at = bisect_left(values, bound) if self.at_least else bisect_right(values, bound)
        else:
            at = bisect_left(values, edge - tally.least)
        # the shorter side is added up
        short = sum(counts[:at]) if 2 * at < tally.distinct else tally.valued - sum(counts[at:])
        return tally.valued - short if self.at_least else short

    def known(self, tally: SheetTally) -> tuple[int, int] | None:
        """The same where the least and the most of the values tell it; None where one must look at them."""
        if tally.codes[0] == "d" or any(edge is not None and tally.least < edge <= tally.most for edge in self.edges):
            return None
        was, now = (tally.valued if edge is not None and (edge <= tally.least) == self.at_least else 0
                    for edge in self.edges)  # fmt: skip
        return was, now


def bounds_of(compare: str, both: tuple[float | None, float | None]) -> Bounds:
    """Pure."""
    at_least = compare == "at_least"
    was, now = (None if bound is None else _edge(bound, at_least=at_least) for bound in both)
    return Bounds(at_least, both, (was, now))


def _edge(bound: float, *, at_least: bool) -> int:
    """The least number of thousandths that meets such a bound, or else the least that does not."""
    past = operator.ge if at_least else operator.gt
    edge = math.floor(1000 * bound) - 1
    while not past(edge / 1000, bound):
        edge += 1
    return edge


@dataclass
class TriedPeriod:
    """Sheets of one center added up. `met` are the samples with a value that meet both figures, of `bounds` alone."""

    bounds: Mapping[str, Bounds]
    owed: int = 0
    measured: int = 0
    days: int = 0
    found: dict[tuple[str, str], Samples] = field(default_factory=dict)
    met: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def add(self, body: bytes) -> None:
        """A sheet as the table has it; one of another format counts for nothing."""
        if (parts := tallies_of(body)) is None:
            return
        tallies, packed = parts
        minutes = dict(zip(BUCKETS, tallies.minutes, strict=True))
        self.owed += sum(tallies.minutes) - minutes["excused"] - minutes["ours"]
        self.measured += minutes["up"] + minutes["below"] + minutes["down"]
        self.days += 1
        for day in tallies.criteria:
            key = day.criterion, day.subject
            one = self.found.get(key) or self.found.setdefault(key, Samples())
            one.counted += day.counted
            one.met += day.met
            one.days += day.counted > 0
            one.slots.update(day.slots)
            one.covered += day.covered
        if self.bounds:
            self._add_values(tallies.criteria, packed)

    def _add_values(self, days: Sequence[SheetTally], packed: bytes) -> None:
        """Unpacks the values only where one of the bounds lies among them."""
        figures, at = None, 0
        for day in days:
            wide, often = day.sizes
            if (bounds := self.bounds.get(day.criterion)) is not None and day.distinct:
                both = bounds.known(day)
                if both is None:
                    figures = figures or memoryview(zlib.decompress(packed))
                    values = numbers_of(figures[at : at + wide], day.codes[0])
                    counts = numbers_of(figures[at + wide : at + wide + often], day.codes[1])
                    both = bounds.met(day, values, counts)
                before = self.met.get((day.criterion, day.subject), (0, 0))
                self.met[day.criterion, day.subject] = before[0] + both[0], before[1] + both[1]
            at += wide + often


class TriedCenter(msgspec.Struct, frozen=True, kw_only=True):
    """A center whose verdict would be another, and the criteria that make it so: {criterion: [was, would be]}."""

    center: str
    owner: str
    district: str
    was: str
    now: str
    criteria: Mapping[str, tuple[str, str]]


class DraftTrial(msgspec.Struct, frozen=True, kw_only=True):
    """`untold` are criteria of which sheets tell nothing; `by_district` and `by_owner` count "was > would be"."""

    standard: str
    draft: str
    centers: int
    sheets: int
    changed: tuple[TriedCenter, ...]
    untold: tuple[str, ...]
    totals: Mapping[str, int]
    by_district: Mapping[str, Mapping[str, int]]
    by_owner: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class DraftQuestion:
    """What is tried: `standard` is the one that holds; `span` from when to when (exclusive), in milliseconds."""

    standard: Standard
    draft: Standard
    span: tuple[int, int]

    @property
    def pairs(self) -> list[tuple[Criterion, Criterion]]:
        """Criteria of both of which sheets tell, as they are and as they would be."""
        known = {one.id: one for one in self.standard.criteria}
        return [(known[one.id], one) for one in self._judged if one.id in known and is_told(known[one.id], one)]

    @property
    def untold(self) -> tuple[str, ...]:
        tellable = {one.id for _, one in self.pairs}
        return tuple(one.id for one in self._judged if one.id not in tellable)

    @property
    def _judged(self) -> list[Criterion]:
        return [one for one in self.draft.criteria if one.id not in self.draft.notices]


class TriedPart(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the centers: `totals` counts "was > would be"."""

    sheets: int
    changed: list[TriedCenter]
    totals: dict[str, int]


def tried(
    conn: sa.Connection, centers: Sequence[Center], standard: Standard, draft: Standard, span: tuple[int, int],
    progress: Progress,
) -> DraftTrial:  # fmt: skip
    question, parts = DraftQuestion(standard, draft, span), []
    for first in range(0, len(centers), AT_ONCE):
        some = centers[first : first + AT_ONCE]
        parts.append(tried_part(conn, some, question))
        progress((first + len(some)) / len(centers))
    return summed(question, parts)


def tried_part(conn: sa.Connection, centers: Sequence[Center], question: DraftQuestion) -> TriedPart:
    """Of centers that have a sheet. Not more than AT_ONCE: all their values are in memory."""
    known, pairs = {center.code: center for center in centers}, question.pairs
    changed, totals, sheets = [], Counter[str](), 0
    periods = {code: TriedPeriod(_bounds(center, pairs)) for code, center in known.items()}
    with uncollected():
        for code, period in _added(conn, periods, question.span):
            sheets += period.days
            outcome = _outcome(known[code], period, [old for old, _ in pairs], [new for _, new in pairs])
            totals[f"{outcome.was} > {outcome.now}"] += 1
            changed += [outcome] if outcome.was != outcome.now else []
    return TriedPart(sheets=sheets, changed=changed, totals=totals)


def summed(question: DraftQuestion, parts: Sequence[TriedPart]) -> DraftTrial:
    """Pure."""
    totals: Counter[str] = Counter()
    for part in parts:
        totals.update(part.totals)
    changed = [one for part in parts for one in part.changed]
    return DraftTrial(
        standard=question.standard.id, draft=question.draft.id, centers=totals.total(),
        sheets=sum(part.sheets for part in parts), changed=tuple(changed), untold=question.untold,
        totals=dict(sorted(totals.items())), by_district=_by(changed, "district"), by_owner=_by(changed, "owner"),
    )  # fmt: skip


def is_told(old: Criterion, new: Criterion) -> bool:
    """Pure. Whether sheets made by the one tell what the other asks: the same readings counted in the same way. Words
    have no values, so they must be the same, too."""
    same = ("reading", "fields", "compare", "words", "when", "only", "ignore", "lower_bound", "evidence")
    months = (old.month.per, old.month.slots) == (new.month.per, new.month.slots)
    return months and all(getattr(old, name) == getattr(new, name) for name in same)


def _figure(criterion: Criterion) -> object:
    return criterion.figure, criterion.count_at_pct


def _bounds(center: Center, pairs: Sequence[tuple[Criterion, Criterion]]) -> dict[str, Bounds]:
    """Of the criteria whose figures differ. Words and silence stay as they were counted."""
    return {
        new.id: bounds_of(new.compare, (bound_of(old, center), bound_of(new, center)))
        for old, new in pairs
        if _figure(new) != _figure(old) and new.reading != "silence"
    }


def _added(
    conn: sa.Connection, periods: Mapping[str, TriedPeriod], span: tuple[int, int]
) -> Iterator[tuple[str, TriedPeriod]]:
    """Centers that have a sheet, with all of their sheets."""
    mine = _d.center.in_(list(periods)) & _d.day_ms.between(span[0], span[1] - 1) & _d.made_ms.is_not(None)
    for code, body in conn.execute(sa.select(_d.center, _d.body).where(mine)):
        periods[code].add(body)
    return iter(sorted((code, period) for code, period in periods.items() if period.days))


def _outcome(center: Center, period: TriedPeriod, old: Sequence[Criterion], new: Sequence[Criterion]) -> TriedCenter:
    pairs = {one.id: (_verdict(before, period, 0), _verdict(one, period, 1)) for before, one in
             zip(old, new, strict=True)}  # fmt: skip
    was, now = (min((pair[i] for pair in pairs.values()), key=WORST.index, default=NOT_ENOUGH) for i in (0, 1))
    differing = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return TriedCenter(
        center=center.code, owner=center.owner, district=center.district, was=was, now=now, criteria=differing
    )


def _verdict(criterion: Criterion, period: TriedPeriod, which: int) -> str:
    """Of the worst of its lines; `which` of both figures."""
    if criterion.reading == "silence":
        mine = [Samples(counted=period.owed, met=period.measured, days=period.days, covered=period.measured)]
    else:
        mine = [_held(period, key, one, which) for key, one in period.found.items() if key[0] == criterion.id]
    words = (decide(criterion.month, one, _pct(one.covered, period.owed))[0] for one in mine or [Samples()])
    return min(words, key=WORST.index)


def _held(period: TriedPeriod, key: tuple[str, str], samples: Samples, which: int) -> Samples:
    """The same samples against one of both figures."""
    met = period.met.get(key)
    bounds = period.bounds.get(key[0])
    if met is None or bounds is None or bounds.both[which] is None:
        return samples
    return replace(samples, met=met[which])


def _pct(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _by(changed: Sequence[TriedCenter], name: str) -> dict[str, dict[str, int]]:
    by_group: dict[str, Counter[str]] = defaultdict(Counter)
    for one in changed:
        by_group[getattr(one, name) or "-"][f"{one.was} > {one.now}"] += 1
    return {key: dict(sorted(counts.items())) for key, counts in sorted(by_group.items())}


def facts(trial: DraftTrial) -> Any:
    return msgspec.to_builtins(trial)
