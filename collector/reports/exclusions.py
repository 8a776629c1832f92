"""Times that count for nobody and against nobody, each with its reason, its evidence, and who stands for it.

Closures, maintenance and times that a decided dispute took out are entries of the calendar, proposed by one person and
approved by another. Two kinds are
excused by rule: load-shedding, where the feeder's schedule has it, the UPS saw the mains go, and it first gave what the
standard asks; and an outage of the provider that neighbours of the same provider confirm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.judging.flags.backup import Cut
from collector.judging.outages import gaps, mains_cuts, summary
from collector.register.calendar import Calendar, CalendarEntry
from collector.register.centers import Center
from collector.register.opening_hours import parse, spans_between
from collector.reports.ledger import Span
from collector.standard.criteria import Standard
from collector.store import schema

ExclusionCode = Literal["closure", "maintenance", "dispute", "load_shedding", "provider_outage"]
_CODES: Mapping[str, ExclusionCode] = {"closure": "closure", "dispute": "dispute"}
BY_RULE = "rule"  # in place of a person
LONGEST_CUT_MS = 7 * 86_400_000

_g = schema.gaps.c


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """A time taken out. `evidence` names entries of the calendar, cuts, gaps; `age_d` is of a schedule, in days."""

    code: ExclusionCode
    from_ms: int
    to_ms: int
    evidence: tuple[str, ...]
    proposed_by: str
    approved_by: str
    reason: str = ""
    age_d: int | None = None


def of_center(
    conn: sa.Connection, center: Center, days: Calendar, standard: Standard | None, span: Span
) -> list[Exclusion]:
    """What is taken out of a time of a center, in the order of time."""
    exclusions = by_entries(days.excusing(center, *span), span)
    if schedule := days.shedding(center.feeder, span[0]):
        cuts = mains_cuts.cuts_of(conn, center.code, span[0] - LONGEST_CUT_MS, span[1])
        exclusions += load_shedding(schedule, cuts, summary.backup_asked_s(center, standard), span)
    exclusions += [_outage(gap, span) for gap in _provider_gaps(conn, center.code, span)]
    return sorted(exclusions, key=lambda item: (item.from_ms, item.to_ms, item.code))


def by_entries(entries: Iterable[CalendarEntry], span: Span) -> list[Exclusion]:
    """Pure. Closures, maintenance and what disputes took out, cut to the time."""
    return [
        Exclusion(
            code=_CODES.get(one.kind, "maintenance"),
            from_ms=max(one.from_ms, span[0]),
            to_ms=span[1] if one.to_ms is None else min(one.to_ms, span[1]),
            evidence=(f"calendar {one.id}",),
            proposed_by=one.recorded_by,
            approved_by=one.confirmed_by,
            reason=one.reason,
        )
        for one in entries
    ]


def load_shedding(
    schedule: CalendarEntry, cuts: Mapping[str, Sequence[Cut]], asked_s: float | None, span: Span
) -> list[Exclusion]:
    """Pure. The part of each cut that lies in the schedule's hours, after the UPS has given what the standard asks. A
    cut that it did not carry so long is excused in no part; a standard that asks for nothing excuses nothing."""
    if asked_s is None:
        return []
    planned = list(spans_between(parse(schedule.hours, TZ), *span))
    exclusions: list[Exclusion] = []
    for name, some in cuts.items():
        for cut in some:
            owed_ms = cut.from_ms + int(asked_s * 1000)
            if cut.backup_s < asked_s:
                continue
            until_ms = cut.to_ms if cut.to_ms is not None else cut.died_ms if cut.died_ms is not None else cut.last_ms
            for start, end in planned:
                part = max(start, owed_ms), min(end, until_ms)
                if part[0] < part[1]:
                    exclusions.append(_shed(schedule, name, cut, part))
    return exclusions


def _shed(schedule: CalendarEntry, name: str, cut: Cut, part: Span) -> Exclusion:
    return Exclusion(
        code="load_shedding", from_ms=part[0], to_ms=part[1],
        evidence=(f"calendar {schedule.id}", f"cut {name or 'ups'} {cut.noted_ms}"), proposed_by=BY_RULE,
        approved_by=BY_RULE, reason=schedule.reason, age_d=max(0, part[0] - schedule.recorded_ms) // 86_400_000,
    )  # fmt: skip


def _provider_gaps(conn: sa.Connection, code: str, span: Span) -> list[gaps.GapView]:
    """Gaps of a line that neighbours of the same provider confirm, as they tell it now."""
    touching = (_g.center == code) & (_g.from_ms < span[1]) & (_g.to_ms > span[0])
    begins = list(conn.scalars(sa.select(_g.from_ms).where(touching)))
    if not begins:
        return []
    views = gaps.judged(conn, code, min(begins), max(begins) + 1)
    return [gap for gap in views if _is_providers(gap) and gap.from_ms < span[1] and gap.to_ms > span[0]]


def _is_providers(gap: gaps.GapView) -> bool:
    return (gap.cause.name, gap.cause.grade) == ("isp_down", "confirmed")


def _outage(gap: gaps.GapView, span: Span) -> Exclusion:
    return Exclusion(
        code="provider_outage", from_ms=max(gap.from_ms, span[0]), to_ms=min(gap.to_ms, span[1]),
        evidence=(f"gap {gap.from_ms}",), proposed_by=BY_RULE, approved_by=BY_RULE,
    )  # fmt: skip
