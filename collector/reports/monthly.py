"""A center's month: each criterion's verdict with the numbers it rests on. The same evidence gives the same report.

A verdict is `meets`, `below`, `watch` (too close to tell by this many samples) or `not enough data`, which is neither
a pass nor a fail. How much is enough, and which share must meet the bound, stands in the standard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.judging.outages import summary
from collector.register import facts as register_facts
from collector.register.centers import Center
from collector.register.dated import DatedCenter, histories, judged_facts
from collector.reports import day_store, integrity, losses
from collector.reports.day_samples import Period
from collector.reports.day_sheets import DaySheet, MergedMonth
from collector.reports.disputes import records
from collector.reports.inspections import records as inspections
from collector.reports.monthly_verdicts import GRADE, OFFLINE, availability, criterion_rows, excused
from collector.standard import Standards
from collector.standard.criteria import FormItem, Standard
from collector.standard.form import form_of

FORMAT = 5  # 4 had no days; 3 had other buckets; 2 had sentences where reasons are now


class ReportError(ValueError):
    """There is no such report; one sentence with the thing, the rule and the fix."""


def period(month: str, tz: str, now_ms: int) -> Period:
    """Raises ReportError for what is no month, or one that has not begun."""
    if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) is None or month < "1970":
        raise ReportError(f"month {month!r:.40}: must be a year and a month; write e.g. 2026-01")
    year, number = int(month[:4]), int(month[5:])
    first = datetime(year, number, 1, tzinfo=ZoneInfo(tz))
    after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=ZoneInfo(tz))
    from_ms, to_ms = (int(item.timestamp()) * 1000 for item in (first, after))
    if from_ms >= now_ms:
        raise ReportError(f"month {month}: has not begun; name this month or an earlier one")
    return Period(month, from_ms, min(to_ms, now_ms), to_ms <= now_ms)


def build(
    conn: sa.Connection, center: Center, month: str, standards: Standards, now_ms: int, *, anew: bool = True
) -> dict[str, Any]:
    """The report as plain values, ready for JSON. Of a month that is over it says the same at any `now_ms`.

    Raises ReportError.
    """
    return build_some(conn, [center], month, standards, now_ms, anew=anew)[center.code]


def build_some(
    conn: sa.Connection, centers: Sequence[Center], month: str, standards: Standards, now_ms: int, *, anew: bool = True,
    sheets: Iterable[DaySheet] | None = None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """`build` for several centers, by code: the sheets of the month's days, merged. Those that are kept are taken as
    they are unless all are to be made `anew`, from the readings; `sheets` are taken if somebody has made them already.
    Raises ReportError."""
    span = period(month, TZ, now_ms)
    standards = standards.within(span.from_ms, span.to_ms)
    standard = standards.at(span.to_ms - 1)
    if standard is None:
        raise ReportError(f"month {month}: no standard holds at its end; add its version to [standard] files")
    plain = [center for center in centers if not isinstance(center, DatedCenter)]
    held = histories(conn, plain) | {center.code: center for center in centers if isinstance(center, DatedCenter)}
    months = {code: MergedMonth() for code in held}
    if sheets is None:
        sheets = day_store.sheets_of(conn, held, (span.from_ms, span.to_ms), standards, now_ms, anew=anew)
    for sheet in sheets:
        months[sheet.center].add(sheet)
    parts: dict[str, Mapping[str, Any]] = {
        "lost": _lost(conn, months, span),
        "integrity": integrity.of_centers(conn, list(held), span.from_ms, span.to_ms),
        "backdated": _backdated(conn, held, span),
        "disputes": _disputes(conn, held, span.month),
        "inspections": _inspections(conn, held, standards, span),
    }
    return {
        code: _report(conn, held[code], merged, span, standard)
        | {name: rows[code] for name, rows in parts.items() if code in rows}
        for code, merged in months.items()
    }


def _report(
    conn: sa.Connection, dated: DatedCenter, month: MergedMonth, span: Period, standard: Standard
) -> dict[str, Any]:
    center, book = dated.at(span.to_ms - 1), month.ledger
    criteria = [criterion for criterion in standard.criteria if criterion.id not in standard.notices]
    return {
        "format": FORMAT,
        "center": {name: getattr(center, name) for name in _CENTER},
        **_facts(dated, span),
        "month": span.month,
        "from_ms": span.from_ms,
        "to_ms": span.to_ms,
        "complete": span.complete,
        "standard": _standard(standard),
        "ledger": {"open": book.open, **book.minutes},
        "days": [{"from_ms": day, **own.minutes, "before": own.before} for day, own in sorted(month.days.items())],
        "minutes": {"measured": book.measured, "before": book.before, "owed": book.owed, "offline": month.offline},
        "availability": availability(month.availability),
        "exclusions": excused(month.excused),
        "criteria": [row for item in criteria for row in criterion_rows(item, center, month)],
        "seats": day_store.seats_book(month.seats, center.seats_promised),
        "outages": summary.book(conn, center, standard, span.from_ms, span.to_ms),
        "evidence": {"sha256": month.sha256, "grade": GRADE, "offline_grade": OFFLINE},
    }


def _lost(conn: sa.Connection, months: Mapping[str, MergedMonth], span: Period) -> dict[str, dict[str, Any]]:
    by_center = losses.of_centers(conn, list(months), span.from_ms, span.to_ms)
    return {code: losses.section(lost, months[code].lost) for code, lost in by_center.items() if lost}


def _facts(dated: DatedCenter, span: Period) -> dict[str, Any]:
    """What held from when to when, of a center that changed within the month."""
    parts = dated.segments(span.from_ms, span.to_ms)
    rows = [{"from_ms": start, "to_ms": end, **judged_facts(one)} for start, end, one in parts]
    return {"facts": rows} if len(rows) > 1 else {}


def _backdated(conn: sa.Connection, codes: Iterable[str], span: Period) -> dict[str, list[dict[str, Any]]]:
    """What was recorded only after the day from which it holds in this month, by two persons; by center."""
    own = register_facts.facts_of(conn, codes)
    late = {code: register_facts.backdated(own[code], span.from_ms, span.to_ms) for code in own}
    return {code: [_late(fact) for fact in facts] for code, facts in late.items() if facts}


def _disputes(conn: sa.Connection, codes: Iterable[str], month: str) -> dict[str, list[dict[str, Any]]]:
    """What persons decided about disputes of this month; by center."""
    names = (
        "id", "day", "criterion", "text", "filed_ms", "filed_by", "outcome", "reason", "decided_ms", "decided_by",
        "excused_from_ms", "excused_to_ms", "witness", "test_id",
    )  # fmt: skip
    by_center = records.decided(conn, codes, month)
    return {code: [{name: getattr(one, name) for name in names} for one in some] for code, some in by_center.items()}


def _inspections(
    conn: sa.Connection, dated: Mapping[str, DatedCenter], standards: Standards, span: Period
) -> dict[str, list[dict[str, Any]]]:
    """What inspectors saw in this month, by center: each answer beside the register's and what is asked."""
    by_center = inspections.of_centers(conn, dated, span.from_ms, span.to_ms)
    names = ("inspection", "inspected_ms", "recorded_by", "visit_list", "standard", "remarks")
    return {
        code: [
            {name: getattr(one, name) for name in names}
            | {"grade": inspections.GRADE, "photos": [photo.sha256 for photo in one.photos]}
            | {"answers": inspections.compared(_form(standards, one), one.answers, dated[code].at(one.inspected_ms))}
            for one in some
        ]
        for code, some in by_center.items()
    }


def _form(standards: Standards, one: inspections.Inspection) -> tuple[FormItem, ...]:
    standard = standards.at(one.inspected_ms)
    return form_of(standard) if standard else ()


def _late(fact: register_facts.Fact) -> dict[str, Any]:
    return {
        "name": fact.name, "value": fact.value, "from_ms": fact.from_ms, "recorded_ms": fact.recorded_ms,
        "by": fact.recorded_by, "second": fact.confirmed_by, "reason": fact.reason,
    }  # fmt: skip


_CENTER = (
    "code",
    "name",
    "owner",
    "city",
    "district",
    "province",
    "tier",
    "seats_promised",
    "isp",
    "opening",
    "lifecycle",
)


def _standard(standard: Standard) -> dict[str, object]:
    return {"id": standard.id, "official": standard.official, "note": standard.note, "sha256": standard.digest}
