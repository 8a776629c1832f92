"""A center's month: each criterion's verdict with the numbers it rests on. The same evidence gives the same report.

A verdict is `meets`, `below`, `watch` (too close to tell by this many samples) or `not enough data`, which is neither
a pass nor a fail. How much is enough, and which share must meet the bound, stands in the standard.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from collector import opening, outages, usable, witnessing
from collector.centers import Center
from collector.flags.judge import Verdict, bound_of, judge
from collector.flags.witness import Witness
from collector.ledger import Ledger, ledger, minutes_of, minutes_open
from collector.pooled import WEIGHED_BY, Days, weight_of
from collector.standard import Standards
from collector.standard.criteria import DEAF, DERIVED, EVERYONE, Criterion, MonthRule, Standard
from collector.store import schema

FORMAT = 1
DISTINCT = 1024  # rows of a kind are mostly alike: equal ones are judged once
Z95 = 1.959964  # two-sided 95 % of the normal distribution
GRADE = "E1"  # signed by the gateway, chained, and bracketed in time by our nonces
WITNESSED = "E2"  # and seen by a measurement server that signed the same
ASKED_OF_DERIVED = {
    "readable": (),
    "healthy_of_promised_pct": ("healthy",),
    "ready_of_promised_pct": ("healthy", "off"),
    "clock_off_ms": ("clock_offset_ms",),
}


class ReportError(ValueError):
    """There is no such report; one sentence with the thing, the rule and the fix."""


@dataclass(frozen=True)
class Period:
    """A calendar month where the standard holds, cut off at now. Milliseconds UTC, `to_ms` exclusive."""

    month: str
    from_ms: int
    to_ms: int
    complete: bool


@dataclass
class Samples:
    """What the readings of a period say of one criterion and subject."""

    values: list[float] = field(default_factory=list)
    counted: int = 0
    met: int = 0
    days: set[int] = field(default_factory=set)
    slots: set[int] = field(default_factory=set)
    minutes: set[int] = field(default_factory=set)
    not_counted: Counter[str] = field(default_factory=Counter)


def period(month: str, tz: str, now_ms: int) -> Period:
    """Raises ReportError for what is no month, or one that has not begun."""
    if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) is None or month < "1970":
        raise ReportError(f"month {month!r:.40}: must be a year and a month; write e.g. 2026-01")
    year, number = int(month[:4]), int(month[5:])
    first = datetime(year, number, 1, tzinfo=ZoneInfo(tz))
    after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=ZoneInfo(tz))
    from_ms, to_ms = (int(each.timestamp()) * 1000 for each in (first, after))
    if from_ms >= now_ms:
        raise ReportError(f"month {month}: has not begun; name this month or an earlier one")
    return Period(month, from_ms, min(to_ms, now_ms), to_ms <= now_ms)


def build(conn: sa.Connection, center: Center, month: str, standards: Standards, now_ms: int) -> dict[str, Any]:
    """The report as plain values, ready for JSON. Raises ReportError."""
    span = period(month, "Asia/Karachi", now_ms)
    standard = standards.at(span.to_ms - 1)
    if standard is None:
        raise ReportError(f"month {month}: no standard holds at its end; add its version to [standard] files")
    asked = [criterion for criterion in standard.criteria if criterion.id not in standard.notices]
    hours = opening.parse(center.opening, standard.tz)
    open_minutes = minutes_open(hours, span.from_ms, span.to_ms)
    evidence = hashlib.sha256()
    found, measured = _collect(conn, center, span, standards, open_minutes, evidence, now_ms)
    book = ledger(
        open_minutes,
        measured,
        enrolled_ms=_enrolled_ms(conn, center.code),
        dark=_dark(conn, center.code, span),
        ours=_ours(conn, span),
    )
    return {
        "format": FORMAT,
        "center": {name: getattr(center, name) for name in _CENTER},
        "month": month,
        "from_ms": span.from_ms,
        "to_ms": span.to_ms,
        "complete": span.complete,
        "standard": _standard(standard),
        "ledger": {"open": book.open, **book.minutes},
        "criteria": [row for each in asked for row in _rows(each, center, found, book, open_minutes)],
        "seats": usable.book(conn, center.code, center.seats_promised, open_minutes),
        "outages": outages.book(conn, center, standard, span.from_ms, span.to_ms),
        "evidence": {"sha256": evidence.hexdigest(), "grade": GRADE},
    }


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


# ---------------------------------------------------------------- from rows to samples


def _collect(
    conn: sa.Connection,
    center: Center,
    span: Period,
    standards: Standards,
    open_minutes: set[int],
    evidence: Any,
    now_ms: int,
) -> tuple[dict[tuple[str, str], Samples], set[int]]:
    """(samples by criterion and subject, minutes in which anything was measured)."""
    found: dict[tuple[str, str], Samples] = {}
    pooled: dict[tuple[Criterion, str], Days] = {}
    measured: set[int] = set()
    for kind in ("link", "speed", "ups", "seats", "gateway"):
        names = _columns(kind, standards)
        weighed = [WEIGHED_BY[kind]] if kind in WEIGHED_BY and _by_day(kind, standards) else []
        judged = lru_cache(DISTINCT)(_judge(kind, names, center))
        seen = _witnesses(conn, kind, center.code, span, standards, now_ms)
        for row in _readings(conn, kind, [*names, *weighed], center.code, span):
            witness = seen.get(f"{row.device} {row.spool} {row.seq}")
            evidence.update(msgspec.json.encode([kind, *row, *([witness.word, witness.reason] if witness else [])]))
            covers = minutes_of(row.wall_ms)
            measured.update(covers)
            standard = standards.at(row.wall_ms)
            if standard is None:
                continue
            minute = row.wall_ms // opening.MINUTE_MS
            day, clock = _local(minute, standard.tz)
            for criterion, verdict in judged(standard, tuple(row)[_KEYS : _KEYS + len(names)], witness):
                if criterion.when == "open_hours" and minute not in open_minutes:
                    continue
                samples = found.setdefault((criterion.id, row.subject), Samples())
                if criterion.month.per == "day" and verdict.value is not None:
                    days = pooled.setdefault((criterion, row.subject), Days(criterion))
                    days.add(day, verdict.value, weight_of(kind, row[-1] if weighed else None), clock, covers)
                else:
                    _add(samples, criterion, verdict, day, [clock], covers)
    for (criterion, subject), days in pooled.items():
        for number, whole, verdict in days.verdicts(center):
            _add(found[criterion.id, subject], criterion, verdict, number, whole.clocks, whole.minutes)
    return found, measured


def _by_day(kind: str, standards: Standards) -> bool:
    return any(each.month.per == "day" for version in standards.versions for each in version.by_reading.get(kind, ()))


def _witnesses(
    conn: sa.Connection, kind: str, code: str, span: Period, standards: Standards, now_ms: int
) -> Mapping[str, Witness]:
    """By the reading's id; none where no version of the standard asks for one."""
    asks = (each.evidence == "witnessed" for version in standards.versions for each in version.by_reading.get(kind, ()))
    return witnessing.of_center(conn, code, span.from_ms, span.to_ms, now_ms) if any(asks) else {}


_KEYS = 5  # wall_ms, device, spool, seq, subject


def _readings(conn: sa.Connection, kind: str, names: Sequence[str], code: str, span: Period) -> Iterator[sa.Row[Any]]:
    table = schema.readings[kind]
    keys = [table.c[name] for name in ("wall_ms", "device", "spool", "seq", "subject")]
    asked = sa.select(*keys, *(table.c[name] for name in names))
    within = sa.and_(table.c.center == code, table.c.wall_ms >= span.from_ms, table.c.wall_ms < span.to_ms)
    ordered = asked.where(within).order_by(*keys[:4])
    return iter(conn.execute(ordered, execution_options={"yield_per": 1000}))


def _columns(kind: str, standards: Standards) -> list[str]:
    """What judging this kind needs of a row, under any version."""
    names = {"failure"} | ({"purpose"} if kind == "speed" else set())
    for standard in standards.versions:
        for criterion in standard.by_reading.get(kind, ()):
            derived = [name for name in criterion.fields if (kind, name) in DERIVED]
            names |= set(criterion.fields) - set(derived)
            names |= {column for name in derived for column in ASKED_OF_DERIVED[name]}
            names |= {name for part in (criterion.only, criterion.ignore, criterion.lower_bound) for name in part}
    return sorted(names)


def _judge(kind: str, names: Sequence[str], center: Center) -> Any:
    """A function from (standard, values, witness) to verdicts."""

    def judged(
        standard: Standard, values: tuple[object, ...], witness: Witness | None
    ) -> list[tuple[Criterion, Verdict]]:
        fields = {name: _plain(name, value) for name, value in zip(names, values, strict=True)}
        reading = SimpleNamespace(**fields)
        return [(each, judge(each, reading, center, witness)) for each in standard.by_reading.get(kind, ())]

    return judged


def _plain(name: str, value: object) -> object:
    """A column as the wire has it: lists and failures are kept as JSON text."""
    if name == "failure" and isinstance(value, str):
        return SimpleNamespace(**json.loads(value)) if value.startswith("{") else SimpleNamespace(cause=value)
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


def _add(
    samples: Samples, criterion: Criterion, verdict: Verdict, day: int, clocks: Iterable[int], covers: Iterable[int]
) -> None:
    if verdict.word == "unknown":
        samples.not_counted[verdict.reason] += 1
        return
    samples.counted += 1
    samples.met += verdict.word == "meets"
    samples.days.add(day)
    bands = enumerate(criterion.month.slots)
    samples.slots.update(i for i, (start, end) in bands if any(start <= clock < end for clock in clocks))
    samples.minutes.update(covers)
    if verdict.value is not None:
        samples.values.append(verdict.value)


@lru_cache(64)
def _local(minute: int, tz: str) -> tuple[int, int]:
    """(day, minute of the day) there, of a minute since 1970."""
    local = datetime.fromtimestamp(minute * 60, ZoneInfo(tz))
    return local.toordinal(), local.hour * 60 + local.minute


# ---------------------------------------------------------------- what else is known of the minutes


def _enrolled_ms(conn: sa.Connection, code: str) -> int | None:
    table = schema.devices.c
    first: int | None = conn.scalar(sa.select(sa.func.min(table.enrolled_ms)).where(table.center == code))
    return first


def _dark(conn: sa.Connection, code: str, span: Period) -> list[tuple[int, int]]:
    """Times without power, as gateways proved them at their next start."""
    table = schema.readings["boot"].c
    asked = sa.select(table.last_alive_ms, table.wall_ms).where(
        table.center == code, table.previous_end == "power", table.last_alive_ms.is_not(None),
        table.wall_ms >= span.from_ms, table.last_alive_ms < span.to_ms,
    )  # fmt: skip
    return [(row.last_alive_ms, row.wall_ms) for row in conn.execute(asked.order_by(table.wall_ms))]


def _ours(conn: sa.Connection, span: Period) -> list[tuple[int, int]]:
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


# ---------------------------------------------------------------- from samples to verdicts


def _rows(
    criterion: Criterion,
    center: Center,
    found: Mapping[tuple[str, str], Samples],
    book: Ledger,
    open_minutes: set[int],
) -> Iterator[dict[str, Any]]:
    """A row for each line or UPS that the criterion was judged on; one without numbers if there was none."""
    if criterion.reading == "silence":
        yield _row(criterion, center, "", _presence(book), book, open_minutes)
        return
    mine = {subject: samples for (name, subject), samples in found.items() if name == criterion.id}
    for subject, samples in sorted(mine.items()) or [("", Samples())]:
        yield _row(criterion, center, subject, samples, book, open_minutes)


def _presence(book: Ledger) -> Samples:
    """Minutes as samples: each that the center answers for, and of these the measured ones."""
    met = book.minutes["measured"]
    days = set(range(1 if book.owed else 0))
    return Samples(counted=book.owed, met=met, days=days, minutes=set())


def _row(
    criterion: Criterion, center: Center, subject: str, samples: Samples, book: Ledger, open_minutes: set[int]
) -> dict[str, Any]:
    silence = criterion.reading == "silence"
    covered = samples.met if silence else len(samples.minutes & open_minutes)
    coverage_pct = _pct(covered, book.owed)
    verdict, reason = decide(criterion.month, samples, coverage_pct)
    return {
        "criterion": criterion.id,
        "subject": subject,
        "name": criterion.name.en,
        "name_ur": criterion.name.ur,
        "unit": criterion.unit,
        "compare": criterion.compare,
        "bound": None if silence else _rounded(bound_of(criterion, center)),
        "words": sorted(criterion.words),
        "verdict": verdict,
        "reason": reason,
        "samples": samples.counted,
        "met": samples.met,
        "met_pct": _pct(samples.met, samples.counted),
        "asked_pct": criterion.month.share_pct,
        "upper_95_pct": _upper_pct(samples),
        "p10": percentile(samples.values, 10),
        "median": percentile(samples.values, 50),
        "p90": percentile(samples.values, 90),
        "days": len(samples.days),
        "slots": len(samples.slots),
        "covered_minutes": covered,
        "coverage_pct": coverage_pct,
        "asked_coverage_pct": criterion.month.min_coverage_pct,
        "not_counted": dict(sorted(samples.not_counted.items())),
        "grade": WITNESSED if criterion.evidence == "witnessed" else GRADE,
    }


def decide(rule: MonthRule, samples: Samples, coverage_pct: float | None) -> tuple[str, str]:
    """(verdict, reason). `below` needs the 95 % upper bound of the share under what is asked; between is `watch`."""
    lacks = [
        f"{have} {what}, at least {asked:g} needed"
        for have, asked, what in (
            (samples.counted, rule.min_samples, "samples"),
            (len(samples.days), rule.min_days, "days"),
            (len(samples.slots), rule.min_slots, "times of day"),
            (coverage_pct or 0.0, rule.min_coverage_pct, "% of the open minutes"),
        )
        if have < asked
    ]
    if lacks:
        return "not enough data", "; ".join(lacks)
    share = f"{_pct(samples.met, samples.counted)} % of {samples.counted} samples meet the bound"
    if 100 * samples.met >= rule.share_pct * samples.counted:
        return "meets", f"{share}, {rule.share_pct:g} % asked"
    upper = _upper_pct(samples) or 0.0
    if upper < rule.share_pct:
        return "below", f"{share}, {rule.share_pct:g} % asked; by chance at most {upper} %"
    return "watch", f"{share}, {rule.share_pct:g} % asked; too close to tell (up to {upper} % by chance)"


def _upper_pct(samples: Samples) -> float | None:
    return wilson_upper_pct(samples.met, samples.counted) if samples.counted else None


def wilson_upper_pct(met: int, counted: int) -> float:
    """Upper end of the 95 % Wilson score interval (Wilson 1927) of the share met, in percent."""
    share, z2 = met / counted, Z95 * Z95
    middle = share + z2 / (2 * counted)
    width = Z95 * math.sqrt(share * (1 - share) / counted + z2 / (4 * counted * counted))
    return round(100 * (middle + width) / (1 + z2 / counted), 2)


def percentile(values: Sequence[float], percent: int) -> float | None:
    """By nearest rank: always one of the values."""
    ordered = sorted(values)
    return _rounded(ordered[max(0, -(-len(ordered) * percent // 100) - 1)]) if ordered else None


def _pct(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
