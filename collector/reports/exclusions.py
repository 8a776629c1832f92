"""Times that count for nobody and against nobody, each with its reason, its evidence, and who stands for it.

Closures, maintenance and times that a decided dispute took out are entries of the calendar, proposed by one person and
approved by another. Days on which a center is suspended or closed are a decision about its stage, of which nothing
counts that was over when it was recorded: who suspends a center at night takes no minute of that day out. Two kinds are
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
from collector.register import facts
from collector.register.calendar import Calendar, CalendarEntry
from collector.register.centers import PAUSED, Center
from collector.register.facts import Fact
from collector.register.opening_hours import parse, spans_between
from collector.reports.ledger import Span
from collector.standard.criteria import Standard
from collector.store import schema

ExclusionCode = Literal["closure", "maintenance", "dispute", "stage", "load_shedding", "provider_outage"]
_CODES: Mapping[str, ExclusionCode] = {"closure": "closure", "dispute": "dispute"}
BY_RULE = "rule"  # in place of a person
LONGEST_CUT_MS = 7 * 86_400_000

_g = schema.gaps.c


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """A time taken out. `evidence` names entries of the calendar, facts, cuts, gaps; `age_d` (days) is of a
    schedule."""

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
    if center.lifecycle in PAUSED:
        exclusions += by_stage(facts.facts_of(conn, [center.code])[center.code], span)
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


def by_stage(center_facts: Iterable[Fact], span: Span) -> list[Exclusion]:
    """Pure. Of a center that is suspended or closed at the beginning of a time: all of it that was to come when that
    was recorded, or that a second person confirmed. Without a fact it is so since before there were any."""
    fact = facts.in_force(center_facts, "lifecycle", span[0])
    begins_ms = 0 if fact is None or fact.source == "migrated" or fact.is_backdated else fact.recorded_ms
    if begins_ms >= span[1]:
        return []
    return [
        Exclusion(
            code="stage",
            from_ms=max(begins_ms, span[0]),
            to_ms=span[1],
            evidence=(f"fact {fact.id}",) if fact else (),
            proposed_by=fact.recorded_by if fact else "",
            approved_by=fact.confirmed_by if fact else "",
            reason=fact.reason if fact else "",
        )
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
