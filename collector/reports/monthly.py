"""A center's month: each criterion's verdict with the numbers it rests on. The same evidence gives the same report.

A verdict is `meets`, `below`, `watch` (too close to tell by this many samples) or `not enough data`, which is neither
a pass nor a fail. How much is enough, and which share must meet the bound, stands in the standard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from agent import wire
from agent.common.center_time import TZ
from collector.outages import summary
from collector.register import calendar, opening_hours
from collector.register import facts as register_facts
from collector.register.calendar import Calendar
from collector.register.centers import Center
from collector.register.dated import DatedCenter, histories, judged_facts
from collector.register.opening_hours import DayRule
from collector.reports import integrity, losses, seat_availability
from collector.reports.ledger import ledger, minutes_open
from collector.reports.monthly_samples import Case, Period, collect
from collector.reports.monthly_verdicts import GRADE, criterion_rows
from collector.standard import Standards
from collector.standard.criteria import DEAF, EVERYONE, Standard
from collector.store import schema

FORMAT = 3  # 2 had sentences where reasons are now
FOR_EVER_MS = 2**53


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


def build(conn: sa.Connection, center: Center, month: str, standards: Standards, now_ms: int) -> dict[str, Any]:
    """The report as plain values, ready for JSON. Of a month that is over it says the same at any `now_ms`.

    Raises ReportError.
    """
    return build_some(conn, [center], month, standards, now_ms)[center.code]


def build_some(
    conn: sa.Connection, centers: Sequence[Center], month: str, standards: Standards, now_ms: int
) -> dict[str, dict[str, Any]]:
    """`build` for several centers, by code, in one pass over the month's readings. What is held of each while it runs
    is small (a few megabytes), however many readings there are. Raises ReportError."""
    span = period(month, TZ, now_ms)
    standards = standards.within(span.from_ms, span.to_ms)
    standard = standards.at(span.to_ms - 1)
    if standard is None:
        raise ReportError(f"month {month}: no standard holds at its end; add its version to [standard] files")
    plain = [center for center in centers if not isinstance(center, DatedCenter)]
    held = histories(conn, plain) | {center.code: center for center in centers if isinstance(center, DatedCenter)}
    days = calendar.between(conn, span.from_ms, span.to_ms)
    hours = {center.code: _hours(held[center.code], span, days) for center in centers}
    places = {key: _places(key, standard) for key in set(hours.values())}
    cases = {code: Case(held[code], span, places[key]) for code, key in hours.items()}
    for kind in [kind.name for kind in wire.KINDS.values() if kind.is_judged]:
        collect(conn, kind, cases, span, standards, FOR_EVER_MS if span.complete else now_ms)
    deaf = _deaf(conn, span)
    lost = losses.of_centers(conn, list(cases), span.from_ms, span.to_ms)
    found = integrity.of_centers(conn, list(cases), span.from_ms, span.to_ms)
    reports = {code: _report(conn, case, span, standard, deaf, lost.get(code, ())) for code, case in cases.items()}
    late = _backdated(conn, cases, span)
    parts = {"integrity": found, "backdated": late}
    return {
        code: report | {name: rows[code] for name, rows in parts.items() if code in rows}
        for code, report in reports.items()
    }


# From, to, the opening hours that held with the calendar's rules: equal ones share their minutes.
_Hours = tuple[tuple[int, int, str, tuple[DayRule, ...]], ...]


def _hours(center: DatedCenter, span: Period, days: Calendar) -> _Hours:
    parts = center.segments(span.from_ms, span.to_ms)
    return tuple((start, end, one.opening, days.rules(one)) for start, end, one in parts)


def _places(hours: _Hours, standard: Standard) -> dict[int, int]:
    open_minutes: set[int] = set()
    for from_ms, to_ms, text, rules in hours:
        open_minutes |= minutes_open(opening_hours.parse(text, standard.tz, rules), from_ms, to_ms)
    return {minute: place for place, minute in enumerate(sorted(open_minutes))}


def _report(
    conn: sa.Connection,
    case: Case,
    span: Period,
    standard: Standard,
    deaf: Sequence[tuple[int, int]],
    lost: Sequence[losses.Loss],
) -> dict[str, Any]:
    center, times = case.center, losses.minutes(lost)
    count = partial(
        ledger,
        set(case.places),
        list(case.measured_minutes),
        enrolled_ms=_enrolled_ms(conn, center.code),
        dark=_dark(conn, center.code, span),
    )
    book = count(ours=[*deaf, *times])
    criteria = [criterion for criterion in standard.criteria if criterion.id not in standard.notices]
    return {
        "format": FORMAT,
        "center": {name: getattr(center, name) for name in _CENTER},
        **_facts(case, span),
        "month": span.month,
        "from_ms": span.from_ms,
        "to_ms": span.to_ms,
        "complete": span.complete,
        "standard": _standard(standard),
        "ledger": {"open": book.open, **book.minutes},
        **({"lost": losses.section(lost, count(ours=times).minutes["ours"])} if lost else {}),
        "criteria": [row for item in criteria for row in criterion_rows(item, center, case.found, book)],
        "seats": seat_availability.book(
            conn,
            center.code,
            lambda at_ms: case.dated.at(at_ms).seats_promised,
            case.seats.all(),
            center.seats_promised,
        ),
        "outages": summary.book(conn, center, standard, span.from_ms, span.to_ms),
        "evidence": {"sha256": case.evidence.hexdigest(), "grade": GRADE},
    }


def _facts(case: Case, span: Period) -> dict[str, Any]:
    """What held from when to when, of a center that changed within the month."""
    parts = case.dated.segments(span.from_ms, span.to_ms)
    rows = [{"from_ms": start, "to_ms": end, **judged_facts(one)} for start, end, one in parts]
    return {"facts": rows} if len(rows) > 1 else {}


def _backdated(conn: sa.Connection, codes: Iterable[str], span: Period) -> dict[str, list[dict[str, Any]]]:
    """What was recorded only after the day from which it holds in this month, by two persons; by center."""
    own = register_facts.facts_of(conn, codes)
    late = {code: register_facts.backdated(own[code], span.from_ms, span.to_ms) for code in own}
    return {code: [_late(fact) for fact in found] for code, found in late.items() if found}


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


# ---------------------------------------------------------------- what else is known of the minutes


def _enrolled_ms(conn: sa.Connection, code: str) -> int | None:
    table = schema.devices.c
    first: int | None = conn.scalar(sa.select(sa.func.min(table.enrolled_ms)).where(table.center == code))
    return first


def _dark(conn: sa.Connection, code: str, span: Period) -> list[tuple[int, int]]:
    """Times without power, as gateways proved them at their next start."""
    table = schema.readings["boot"].c
    query = sa.select(table.last_alive_ms, table.wall_ms).where(
        table.center == code, table.previous_end == "power", table.last_alive_ms.is_not(None),
        table.wall_ms >= span.from_ms, table.last_alive_ms < span.to_ms,
    )  # fmt: skip
    return [(row.last_alive_ms, row.wall_ms) for row in conn.execute(query.order_by(table.wall_ms))]


def _deaf(conn: sa.Connection, span: Period) -> list[tuple[int, int]]:
    """Times in which the collector was deaf."""
    table = schema.changes.c
    mine = sa.and_(table.center == EVERYONE, table.criterion == DEAF.id, table.at_ms < span.to_ms)
    spans: list[tuple[int, int]] = []
    since_ms: int | None = None
    for row in conn.execute(sa.select(table.now, table.at_ms).where(mine).order_by(table.id)):
        if row.now == "raised":
            since_ms = row.at_ms
        elif since_ms is not None:
            spans.append((since_ms, row.at_ms))
            since_ms = None
    return spans + ([(since_ms, span.to_ms)] if since_ms is not None else [])
