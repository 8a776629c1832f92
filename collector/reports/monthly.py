"""A center's month: each criterion's verdict with the numbers it rests on. The same evidence gives the same report.

A verdict is `meets`, `below`, `watch` (too close to tell by this many samples) or `not enough data`, which is neither
a pass nor a fail. How much is enough, and which share must meet the bound, stands in the standard.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.center_time import TZ
from agent.common.reasons import Param, Reason, encode
from collector.flags.judge import Verdict, bound_of, judge
from collector.flags.witness import Witness
from collector.judging import server_check
from collector.outages import summary
from collector.register import opening_hours
from collector.register.centers import Center
from collector.reports import seat_availability
from collector.reports.daily_samples import WEIGHED_BY, Days, weight_of
from collector.reports.ledger import Ledger, ledger, minutes_of, minutes_open
from collector.standard import Standards
from collector.standard.criteria import DEAF, DERIVED, EVERYONE, Criterion, MonthRule, Standard
from collector.store import schema

FORMAT = 3  # 2 had sentences where reasons are now
FOR_EVER_MS = 2**53
DISTINCT = 1024  # rows of a kind are mostly alike: equal ones are judged once
Z95 = 1.959964  # two-sided 95 % of the normal distribution
GRADE = "E1"  # signed by the gateway, chained, and bracketed in time by our nonces
WITNESSED = "E2"  # and seen by a measurement server that signed the same


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

    values: array[float] = field(default_factory=lambda: array("d"))
    counted: int = 0
    met: int = 0
    days: set[int] = field(default_factory=set)
    slots: set[int] = field(default_factory=set)
    minutes: bytearray = field(default_factory=bytearray)  # one byte for each open minute, 1 where it is covered
    not_counted: Counter[Reason] = field(default_factory=Counter)


class Case:
    """What the readings of a period say of one center. `places` numbers its open minutes."""

    def __init__(self, center: Center, places: Mapping[int, int]) -> None:
        self.center, self.places = center, places
        self.found: dict[tuple[str, str], Samples] = {}
        self.measured = bytearray(len(places))
        self.seats = seat_availability.Hours(places)
        self.evidence = hashlib.sha256()

    @property
    def measured_minutes(self) -> Iterator[int]:
        return (minute for minute, place in self.places.items() if self.measured[place])

    def samples(self, criterion: Criterion, subject: str) -> Samples:
        key = criterion.id, subject
        if key not in self.found:
            self.found[key] = Samples(minutes=bytearray(len(self.places)))
        return self.found[key]


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
    standard = standards.at(span.to_ms - 1)
    if standard is None:
        raise ReportError(f"month {month}: no standard holds at its end; add its version to [standard] files")
    hours = {center.opening: _places(center.opening, standard, span) for center in centers}
    cases = {center.code: Case(center, hours[center.opening]) for center in centers}
    for kind in [kind.name for kind in wire.KINDS.values() if kind.is_judged]:
        _collect(conn, kind, cases, span, standards, FOR_EVER_MS if span.complete else now_ms)
    ours = _ours(conn, span)
    return {code: _report(conn, case, span, standard, ours) for code, case in cases.items()}


def _places(text: str, standard: Standard, span: Period) -> dict[int, int]:
    open_minutes = minutes_open(opening_hours.parse(text, standard.tz), span.from_ms, span.to_ms)
    return {minute: place for place, minute in enumerate(sorted(open_minutes))}


def _report(
    conn: sa.Connection, case: Case, span: Period, standard: Standard, ours: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    center = case.center
    book = ledger(
        set(case.places),
        case.measured_minutes,
        enrolled_ms=_enrolled_ms(conn, center.code),
        dark=_dark(conn, center.code, span),
        ours=ours,
    )
    criteria = [criterion for criterion in standard.criteria if criterion.id not in standard.notices]
    return {
        "format": FORMAT,
        "center": {name: getattr(center, name) for name in _CENTER},
        "month": span.month,
        "from_ms": span.from_ms,
        "to_ms": span.to_ms,
        "complete": span.complete,
        "standard": _standard(standard),
        "ledger": {"open": book.open, **book.minutes},
        "criteria": [row for item in criteria for row in _rows(item, center, case.found, book)],
        "seats": seat_availability.book(conn, center.code, center.seats_promised, case.seats.all()),
        "outages": summary.book(conn, center, standard, span.from_ms, span.to_ms),
        "evidence": {"sha256": case.evidence.hexdigest(), "grade": GRADE},
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
    conn: sa.Connection, kind: str, cases: Mapping[str, Case], span: Period, standards: Standards, now_ms: int
) -> None:
    """Tells the cases what the readings of one kind say."""
    names = _columns(kind, standards)
    weighed = [WEIGHED_BY[kind]] if kind in WEIGHED_BY and _by_day(kind, standards) else []
    judges = {code: lru_cache(DISTINCT)(_judge(kind, names, case.center)) for code, case in cases.items()}
    pooled: dict[str, dict[tuple[Criterion, str], Days]] = {code: {} for code in cases}
    seen = _witnesses(conn, kind, list(cases), span, standards, now_ms)
    for row in _readings(conn, kind, [*names, *weighed], list(cases), span):
        case = cases[row.center]
        witness = seen.get(f"{row.device} {row.spool} {row.seq}") if seen else None
        case.evidence.update(msgspec.json.encode([kind, *row, *([witness.word, witness.reason] if witness else [])]))
        minute = row.wall_ms // opening_hours.MINUTE_MS
        covers = [case.places[item] for item in minutes_of(row.wall_ms) if item in case.places]
        for place in covers:
            case.measured[place] = 1
        if kind == "seats" and row.healthy is not None:
            case.seats.add(seat_availability.SeatSample(row.wall_ms, row.healthy, row.off or 0, row.known or 0))
        standard = standards.at(row.wall_ms)
        if standard is None:
            continue
        day, clock = _local(minute, standard.tz)
        for criterion, verdict in judges[row.center](standard, tuple(row)[_KEYS : _KEYS + len(names)], witness):
            if criterion.when == "open_hours" and minute not in case.places:
                continue
            samples = case.samples(criterion, row.subject)
            if criterion.month.per == "day" and verdict.value is not None:
                days = pooled[row.center].setdefault((criterion, row.subject), Days(criterion))
                weight = weight_of(kind, row[-1] if weighed else None)
                days.add(day, verdict.value, weight, _slots(criterion, clock), covers)
            else:
                _add(samples, verdict, day, _slots(criterion, clock), covers)
    for code, its in pooled.items():
        for (criterion, subject), days in its.items():
            for number, whole, verdict in days.verdicts(cases[code].center):
                _add(cases[code].samples(criterion, subject), verdict, number, whole.slots, whole.minutes)


def _by_day(kind: str, standards: Standards) -> bool:
    return any(item.month.per == "day" for version in standards.versions for item in version.by_reading.get(kind, ()))


def _witnesses(
    conn: sa.Connection, kind: str, codes: Sequence[str], span: Period, standards: Standards, now_ms: int
) -> Mapping[str, Witness]:
    """By the reading's id; none where no version of the standard asks for one."""
    asks = (item.evidence == "witnessed" for version in standards.versions for item in version.by_reading.get(kind, ()))
    return server_check.of_centers(conn, codes, span.from_ms, span.to_ms, now_ms) if any(asks) else {}


_KEYS = 6  # wall_ms, center, device, spool, seq, subject


def _readings(
    conn: sa.Connection, kind: str, names: Sequence[str], codes: Sequence[str], span: Period
) -> Iterator[sa.Row[Any]]:
    """In the order of time, those of one instant in that of their ids: never in the order in which they came. It is
    sorted here, since databases sort words each in its own way."""
    table = schema.readings[kind]
    keys = [table.c[name] for name in ("wall_ms", "center", "device", "spool", "seq", "subject")]
    query = sa.select(*keys, *(table.c[name] for name in names))
    within = sa.and_(table.c.center.in_(codes), table.c.wall_ms >= span.from_ms, table.c.wall_ms < span.to_ms)
    rows = conn.execute(query.where(within).order_by(table.c.wall_ms), execution_options={"yield_per": 1000})
    for _, some in itertools.groupby(rows, key=attrgetter("wall_ms")):
        yield from sorted(some, key=lambda row: tuple(row)[:5])


_ALWAYS = {"speed": {"engine", "purpose"}, "seats": {"healthy", "off", "known"}}


def _columns(kind: str, standards: Standards) -> list[str]:
    """What judging this kind needs of a row, under any version."""
    names = {"failure"} | _ALWAYS.get(kind, set())
    for standard in standards.versions:
        for criterion in standard.by_reading.get(kind, ()):
            for name in criterion.fields:
                names |= set(DERIVED[kind, name].of) if (kind, name) in DERIVED else {name}
            names |= {name for part in (criterion.only, criterion.ignore, criterion.lower_bound) for name in part}
    return sorted(names)


def _judge(kind: str, names: Sequence[str], center: Center) -> Any:
    """A function from (standard, values, witness) to verdicts."""

    def judged(
        standard: Standard, values: tuple[object, ...], witness: Witness | None
    ) -> list[tuple[Criterion, Verdict]]:
        fields = {name: _plain(name, value) for name, value in zip(names, values, strict=True)}
        reading = SimpleNamespace(**fields)
        return [(item, judge(item, reading, center, witness)) for item in standard.by_reading.get(kind, ())]

    return judged


def _plain(name: str, value: object) -> object:
    """A column as the wire has it: lists and failures are kept as JSON text."""
    if name == "failure" and isinstance(value, str):
        return SimpleNamespace(**json.loads(value)) if value.startswith("{") else SimpleNamespace(cause=value)
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


def _add(samples: Samples, verdict: Verdict, day: int, slots: Iterable[int], covers: Iterable[int]) -> None:
    if verdict.word == "unknown":
        samples.not_counted[verdict.reason] += 1
        return
    samples.counted += 1
    samples.met += verdict.word == "meets"
    samples.days.add(day)
    samples.slots.update(slots)
    for place in covers:
        samples.minutes[place] = 1
    if verdict.value is not None:
        samples.values.append(verdict.value)


def _slots(criterion: Criterion, clock: int) -> list[int]:
    """The parts of the day, as the criterion has them, that this minute of the day lies in."""
    return [i for i, (start, end) in enumerate(criterion.month.slots) if start <= clock < end]


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
    query = sa.select(table.last_alive_ms, table.wall_ms).where(
        table.center == code, table.previous_end == "power", table.last_alive_ms.is_not(None),
        table.wall_ms >= span.from_ms, table.last_alive_ms < span.to_ms,
    )  # fmt: skip
    return [(row.last_alive_ms, row.wall_ms) for row in conn.execute(query.order_by(table.wall_ms))]


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
) -> Iterator[dict[str, Any]]:
    """A row for each line or UPS that the criterion was judged on; one without numbers if there was none."""
    if criterion.reading == "silence":
        yield _row(criterion, center, "", _presence(book), book)
        return
    mine = {subject: samples for (name, subject), samples in found.items() if name == criterion.id}
    for subject, samples in sorted(mine.items()) or [("", Samples())]:
        yield _row(criterion, center, subject, samples, book)


def _presence(book: Ledger) -> Samples:
    """Minutes as samples: each that the center answers for, and of these the measured ones."""
    met = book.minutes["measured"]
    days = set(range(1 if book.owed else 0))
    return Samples(counted=book.owed, met=met, days=days)


def _row(criterion: Criterion, center: Center, subject: str, samples: Samples, book: Ledger) -> dict[str, Any]:
    silence = criterion.reading == "silence"
    covered = samples.met if silence else sum(samples.minutes)
    coverage_pct = _pct(covered, book.owed)
    verdict, reason = decide(criterion.month, samples, coverage_pct)
    return {
        "criterion": criterion.id,
        "subject": subject,
        "name": criterion.name.en,
        "name_ur": criterion.name.of("ur"),
        "names": dict(criterion.name.texts),
        "unit": criterion.unit,
        "compare": criterion.compare,
        "bound": None if silence else _rounded(bound_of(criterion, center)),
        "words": sorted(criterion.words),
        "verdict": verdict,
        "reason": msgspec.to_builtins(reason),
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
        "not_counted": [
            {"reason": msgspec.to_builtins(reason), "count": count}
            for reason, count in sorted(samples.not_counted.items(), key=lambda item: encode(item[0]))
        ],
        "grade": WITNESSED if criterion.evidence == "witnessed" else GRADE,
    }


def decide(rule: MonthRule, samples: Samples, coverage_pct: float | None) -> tuple[str, Reason]:
    """(verdict, reason). `below` needs the 95 % upper bound of the share under what is asked; between is `watch`."""
    if lacks := _lacks(rule, samples, coverage_pct or 0.0):
        return "not enough data", Reason("month.lacks", {"lacks": lacks})
    shares: dict[str, Param] = {
        "met_pct": _pct(samples.met, samples.counted),
        "n": samples.counted,
        "asked_pct": rule.share_pct,
    }
    if 100 * samples.met >= rule.share_pct * samples.counted:
        return "meets", Reason("month.meets", shares)
    upper = _upper_pct(samples) or 0.0
    shares["upper_pct"] = upper
    return (
        ("below", Reason("month.below", shares)) if upper < rule.share_pct else ("watch", Reason("month.watch", shares))
    )


def _lacks(rule: MonthRule, samples: Samples, coverage_pct: float) -> list[Reason]:
    """What a month would need to be decided."""
    counts = (
        ("month.samples", samples.counted, rule.min_samples),
        ("month.days", len(samples.days), rule.min_days),
        ("month.slots", len(samples.slots), rule.min_slots),
    )
    lacks = [Reason.of(code, n=have, least=least) for code, have, least in counts if have < least]
    if coverage_pct < rule.min_coverage_pct:
        lacks.append(Reason.of("month.coverage", have_pct=coverage_pct, least_pct=rule.min_coverage_pct))
    return lacks


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
