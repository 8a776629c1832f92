"""What the readings of a month say of each criterion: from rows of the database to samples."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import lru_cache
from operator import attrgetter
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from agent.common.center_time import TZ
from agent.common.reasons import Reason
from collector.flags.judge import Verdict, judge
from collector.flags.witness import Witness
from collector.judging import server_check
from collector.register import opening_hours
from collector.register.centers import Center
from collector.register.dated import DatedCenter
from collector.reports import seat_availability
from collector.reports.daily_samples import WEIGHED_BY, Days, weight_of
from collector.reports.ledger import minutes_of
from collector.standard import Standards
from collector.standard.criteria import DERIVED, Criterion, Standard
from collector.store import schema

DISTINCT = 1024  # rows of a kind are mostly alike: equal ones are judged once


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

    def __init__(self, dated: DatedCenter, span: Period, places: Mapping[int, int]) -> None:
        self.dated, self.places = dated, places
        self.center = dated.at(span.to_ms - 1)
        self.found: dict[tuple[str, str], Samples] = {}
        self.measured = bytearray(len(places))
        self.seats = seat_availability.Hours(places)
        self.evidence = hashlib.sha256()

    def held_on(self, day: int) -> Center:
        """What the center was on a day, by its number: hours, tier, seats and provider change with the day."""
        noon = datetime.combine(date.fromordinal(day), time(12), ZoneInfo(TZ))
        return self.dated.at(int(noon.timestamp() * 1000))

    @property
    def measured_minutes(self) -> Iterator[int]:
        return (minute for minute, place in self.places.items() if self.measured[place])

    def samples(self, criterion: Criterion, subject: str) -> Samples:
        key = criterion.id, subject
        if key not in self.found:
            self.found[key] = Samples(minutes=bytearray(len(self.places)))
        return self.found[key]


def collect(
    conn: sa.Connection, kind: str, cases: Mapping[str, Case], span: Period, standards: Standards, now_ms: int
) -> None:
    """Tells the cases what the readings of one kind say."""
    names = _columns(kind, standards)
    weighed = [WEIGHED_BY[kind]] if kind in WEIGHED_BY and _by_day(kind, standards) else []
    judges = {code: _DatedJudge(kind, names, case.dated, span) for code, case in cases.items()}
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
        values = tuple(row)[_KEYS : _KEYS + len(names)]
        for criterion, verdict in judges[row.center].at(row.wall_ms)(standard, values, witness):
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
            for number, whole, verdict in days.verdicts(cases[code].held_on):
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


class _DatedJudge:
    """A center's judge of one kind at each time: one for each part of the month in which the same held."""

    def __init__(self, kind: str, names: Sequence[str], center: DatedCenter, span: Period) -> None:
        parts = center.segments(span.from_ms, span.to_ms)
        self._ends = [end for _, end, _ in parts]
        self._judges = [lru_cache(DISTINCT)(_judge(kind, names, one)) for _, _, one in parts]

    def at(self, at_ms: int) -> Any:
        return self._judges[min(bisect.bisect_right(self._ends, at_ms), len(self._judges) - 1)]


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
