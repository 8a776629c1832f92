"""What the readings of a day say of each criterion: from rows of the database to the day's sheet."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter, namedtuple
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from agent.common.reasons import Reason, encode
from collector.judging import server_check, server_samples
from collector.judging.flags.judge import Verdict, judge
from collector.judging.flags.witness import Witness
from collector.judging.server_samples import ServerSample, failure_cause
from collector.register import opening_hours
from collector.register.centers import Center
from collector.register.dated import DatedCenter
from collector.reports import seat_availability
from collector.reports.daily_samples import WEIGHED_BY, Days, TracedReading, fate_of, weight_of
from collector.reports.day_sheets import CriterionDay
from collector.reports.ledger import REACH_MS, minutes_of
from collector.speedtests import unused_tests
from collector.standard import Standards
from collector.standard.criteria import DERIVED, Criterion, Standard
from collector.store.cold import held

DISTINCT = 1024  # rows of a kind are mostly alike: equal ones are judged once
EXCUSED = Reason("month.excused")
KEPT_MS = 20 * 60_000  # a reading that comes later was kept while its gateway was offline
LINE_FAILED = frozenset({"no_route", "timeout", "unreachable"})  # the line was tried, and did not carry


@dataclass(frozen=True)
class Period:
    """A calendar month where the standard holds, cut off at now. Milliseconds UTC, `to_ms` exclusive."""

    month: str
    from_ms: int
    to_ms: int
    complete: bool


@dataclass(frozen=True)
class DaySpan:
    """A day in Pakistan, cut off at now."""

    from_ms: int
    to_ms: int


@dataclass
class DaySamples:
    """What the readings of a day say of one criterion and subject; `minutes` are the open ones with a sample."""

    values: Counter[float] = field(default_factory=Counter)
    counted: int = 0
    met: int = 0
    slots: set[int] = field(default_factory=set)
    minutes: set[int] = field(default_factory=set)
    not_counted: Counter[Reason] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)


class Case:
    """What the readings of a day say of one center. `open` are its open minutes, by their numbers since 1970,
    `excused` those of them that exclusions take out. `trace` takes each reading, for whoever looks."""

    def __init__(
        self, dated: DatedCenter, day: DaySpan, open_minutes: Collection[int], excused: Collection[int],
        trace: list[TracedReading] | None = None,
    ) -> None:  # fmt: skip
        self.dated, self.day, self.open, self.excused, self.trace = dated, day, open_minutes, excused, trace
        self.center = dated.at(day.from_ms)
        self.found: dict[tuple[str, str], DaySamples] = {}
        self.measured: set[int] = set()
        self.kept: set[int] = set()  # minutes of which readings came that had been kept
        self.live: set[int] = set()  # those of which some came at once
        self.below: set[int] = set()
        self.line_up: set[int] = set()
        self.line_down: set[int] = set()
        self.mains: set[int] = set()
        self.battery: set[int] = set()
        self.seats = seat_availability.Hours(open_minutes)
        self.evidence = hashlib.sha256()

    @property
    def down(self) -> set[int]:
        """Minutes in which no reading of any line reached the far end, and one tried."""
        return self.line_down - self.line_up

    def samples(self, criterion: Criterion, subject: str) -> DaySamples:
        samples = self.found.get(key := (criterion.id, subject))
        if samples is None:
            samples = self.found[key] = DaySamples()
        return samples

    def see(self, kind: str, row: Any, covers: Collection[int]) -> None:
        """Notes what a reading says of the minutes it speaks for."""
        self.measured.update(covers)
        (self.kept if row.received_ms - row.wall_ms > KEPT_MS else self.live).update(covers)
        if kind == "link":
            cause = failure_cause(row.failure)
            if row.loss_pct is not None and row.loss_pct < 100:
                self.line_up.update(covers)
            elif row.loss_pct is not None or cause in LINE_FAILED:
                self.line_down.update(covers)
        elif kind == "ups" and row.output_state is not None:
            (self.battery if row.output_state == "battery" else self.mains).update(covers)


def collect_all(
    conn: sa.Connection, cases: Mapping[str, Case], day: DaySpan, standards: Standards, now_ms: int
) -> None:
    """Tells the cases what the readings of every kind say, and what measurement servers saw."""
    kinds = [kind.name for kind in wire.KINDS.values() if kind.is_judged]
    present = held.present(conn, kinds, list(cases), day.from_ms - REACH_MS, day.to_ms + REACH_MS)
    for kind in kinds:
        unreported = _unreported(conn, kind, list(cases), day, standards, now_ms)
        if kind in present or unreported:
            _collect(conn, kind, cases, day, standards, now_ms, unreported)
    _collect_unused(conn, cases, day, standards, now_ms)


def _collect(
    conn: sa.Connection, kind: str, cases: Mapping[str, Case], day: DaySpan, standards: Standards, now_ms: int,
    unreported: Sequence[ServerSample],
) -> None:  # fmt: skip
    """Readings of the half minutes around the day speak for its first and last minute, and are no samples of it."""
    names = _columns(kind, standards)
    weighed = [WEIGHED_BY[kind]] if kind in WEIGHED_BY and _by_day(kind, standards) else []
    judges = {code: lru_cache(DISTINCT)(_judge(kind, names, case.center)) for code, case in cases.items()}
    pooled: dict[str, dict[tuple[Criterion, str], Days]] = {code: {} for code in cases}
    seen = _witnesses(conn, kind, list(cases), day, standards, now_ms)
    seen |= {sample.id: sample.witness for sample in unreported}
    rows = itertools.chain(
        _readings(conn, kind, [*names, *weighed], list(cases), day), _as_rows(unreported, [*names, *weighed])
    )
    for row in rows:
        case = cases[row.center]
        covers = [item for item in minutes_of(row.wall_ms) if item in case.open]
        case.see(kind, row, covers)
        witness = seen.get(f"{row.device} {row.spool} {row.seq}") if seen else None
        standard = standards.at(row.wall_ms)
        values = tuple(row)[_KEYS : _KEYS + len(names)]
        verdicts = [] if standard is None else judges[row.center](standard, values, witness)
        if row.spool.startswith(server_samples.SPOOL):  # it speaks only for what no reading does
            verdicts = [pair for pair in verdicts if pair[1].word != "unknown"]
        if standard is not None:
            _note_below(case, standard, verdicts, covers)
        if not day.from_ms <= row.wall_ms < day.to_ms:
            continue
        case.evidence.update(msgspec.json.encode([kind, *row, *([witness.word, witness.reason] if witness else [])]))
        if kind == "seats" and row.healthy is not None:
            case.seats.add(seat_availability.SeatSample(row.wall_ms, row.healthy, row.off or 0, row.known or 0))
        if standard is not None:
            weight = weight_of(kind, row[-1] if weighed else None)
            _add_reading(case, pooled[row.center], _Reading(row, standard.tz, weight, covers), verdicts)
    for code, its in pooled.items():
        _add_pooled(cases[code], its)


def _add_pooled(case: Case, its: Mapping[tuple[Criterion, str], Days]) -> None:
    """A criterion that is judged by the day has one sample of it."""
    for (criterion, subject), days in its.items():
        for _, whole, verdict in days.verdicts(lambda _day: case.center):
            _add(case.samples(criterion, subject), verdict, whole.slots, whole.minutes)


def _collect_unused(
    conn: sa.Connection, cases: Mapping[str, Case], day: DaySpan, standards: Standards, now_ms: int
) -> None:
    """Tests that were granted and not made; to be called when the cases know what was measured."""
    rules = (item.month.unused for version in standards.versions for item in version.by_reading.get("speed", ()))
    if all(rule is None for rule in rules):
        return
    for code, tests in unused_tests.of_centers(conn, list(cases), day.from_ms, day.to_ms, now_ms).items():
        case = cases[code]
        for test in tests:
            minute = test.granted_ms // opening_hours.MINUTE_MS
            standard = standards.at(test.granted_ms)
            if standard is None or minute in case.excused or not {minute - 1, minute, minute + 1} & case.measured:
                continue
            for criterion in standard.by_reading.get("speed", ()):
                if criterion.month.unused is not None and (criterion.when == "always" or minute in case.open):
                    case.evidence.update(msgspec.json.encode(["unused", criterion.id, test.granted_ms, test.cause]))
                    case.samples(criterion, test.subject).unused[test.cause] += 1


@dataclass(frozen=True)
class _Reading:
    """A reading as it is read, and the open minutes for which it speaks."""

    row: Any
    tz: str
    weight: float
    covers: Sequence[int]


def _add_reading(
    case: Case, pooled: dict[tuple[Criterion, str], Days], at: _Reading, verdicts: Sequence[tuple[Criterion, Verdict]]
) -> None:
    """A reading's verdicts as samples. What lies in a time taken out is none."""
    subject, minute = at.row.subject, at.row.wall_ms // opening_hours.MINUTE_MS
    day, clock = _local(minute, at.tz)
    for criterion, verdict in verdicts:
        fate = fate_of(criterion, verdict, minute, case.open, case.excused)
        if case.trace is not None:
            at_ms, _, device, spool, seq, _, received_ms = tuple(at.row)[:_KEYS]
            case.trace.append(TracedReading(at_ms, device, spool, seq, subject, received_ms, criterion, verdict, fate))
        if fate == "excused":
            case.samples(criterion, subject).not_counted[EXCUSED] += 1
        elif fate == "mean" and verdict.value is not None:
            case.samples(criterion, subject)
            days = pooled.setdefault((criterion, subject), Days(criterion))
            days.add(day, verdict.value, at.weight, _slots(criterion, clock), at.covers)
        elif fate != "closed":
            _add(case.samples(criterion, subject), verdict, _slots(criterion, clock), at.covers)


def _note_below(
    case: Case, standard: Standard, verdicts: Sequence[tuple[Criterion, Verdict]], covers: Collection[int]
) -> None:
    """What counts by the day falls short on a day, never in a minute; a notice is no shortfall."""
    for criterion, verdict in verdicts:
        if verdict.word == "below" and criterion.month.per != "day" and criterion.id not in standard.notices:
            case.below.update(covers)


def _by_day(kind: str, standards: Standards) -> bool:
    return any(item.month.per == "day" for version in standards.versions for item in version.by_reading.get(kind, ()))


def _witnesses(
    conn: sa.Connection, kind: str, codes: Sequence[str], day: DaySpan, standards: Standards, now_ms: int
) -> dict[str, Witness]:
    """By the reading's id; none where no version of the standard asks for one."""
    if not _wants_witness(kind, standards):
        return {}
    return server_check.of_centers(conn, codes, day.from_ms, day.to_ms, now_ms)


def _wants_witness(kind: str, standards: Standards) -> bool:
    rows = (version.by_reading.get(kind, ()) for version in standards.versions)
    return any(item.evidence == "witnessed" for item in itertools.chain.from_iterable(rows))


def _unreported(
    conn: sa.Connection, kind: str, codes: Sequence[str], day: DaySpan, standards: Standards, now_ms: int
) -> list[ServerSample]:
    """What measurement servers saw of this day's tests and no reading speaks for."""
    if kind != "speed" or not _wants_witness(kind, standards):
        return []
    by_center = server_samples.of_centers(conn, codes, day.from_ms, day.to_ms, now_ms)
    return [sample for code in sorted(by_center) for sample in by_center[code]]


def _as_rows(samples: Iterable[ServerSample], names: Sequence[str]) -> Iterator[Any]:
    """In the form of `_readings`."""
    form: Any = namedtuple("form", [*_KEY_NAMES, *names])  # type: ignore[misc]
    for one in samples:
        _, spool, seq = one.id.split(" ")
        test = one.test
        keys = (test.started_ms, test.center, test.device, spool, int(seq), test.subject, test.started_ms)
        yield form(*keys, *(one.fields.get(name) for name in names))  # type: ignore[call-arg]


_KEY_NAMES = ("wall_ms", "center", "device", "spool", "seq", "subject", "received_ms")
_KEYS = len(_KEY_NAMES)


def _readings(
    conn: sa.Connection, kind: str, names: Sequence[str], codes: Sequence[str], day: DaySpan
) -> Iterator[sa.Row[Any]]:
    """In the order of time, those of one instant in that of their ids: never in the order in which they came. It is
    sorted here, since databases sort words each in its own way."""
    first_ms, last_ms = day.from_ms - REACH_MS, day.to_ms + REACH_MS
    table = held.readings(conn, kind, codes, first_ms, last_ms, [*_KEY_NAMES, *names])
    keys = [table.c[name] for name in _KEY_NAMES]
    query = sa.select(*keys, *(table.c[name] for name in names))
    within = sa.and_(table.c.center.in_(codes), table.c.wall_ms >= first_ms, table.c.wall_ms < last_ms)
    parts = conn.execute(query.where(within).order_by(table.c.wall_ms), execution_options={"yield_per": 1000})
    rows = itertools.chain.from_iterable(parts.partitions())  # row by row takes twice as long
    for _, some in itertools.groupby(rows, key=attrgetter("wall_ms")):
        yield from sorted(some, key=lambda row: tuple(row)[:5])


_ALWAYS = {
    "link": {"loss_pct"},
    "speed": {"engine", "purpose"},
    "seats": {"healthy", "off", "known"},
    "ups": {"output_state"},
}


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


def _add(samples: DaySamples, verdict: Verdict, slots: Iterable[int], covers: Iterable[int]) -> None:
    if verdict.word == "unknown":
        samples.not_counted[verdict.reason] += 1
        return
    samples.counted += 1
    samples.met += verdict.word == "meets"
    samples.slots.update(slots)
    samples.minutes.update(covers)
    if verdict.value is not None:
        samples.values[round(verdict.value, 3)] += 1


def sheet_criteria(case: Case) -> tuple[CriterionDay, ...]:
    """Everything found, in the order of its names."""
    return tuple(
        CriterionDay(
            criterion=criterion,
            subject=subject,
            counted=samples.counted,
            met=samples.met,
            values=tuple(sorted(samples.values.items())),
            slots=tuple(sorted(samples.slots)),
            covered=len(samples.minutes - set(case.excused)),
            not_counted=tuple(sorted(samples.not_counted.items(), key=lambda item: encode(item[0]))),
            unused=tuple(sorted(samples.unused.items())),
        )
        for (criterion, subject), samples in sorted(case.found.items())
    )


def _slots(criterion: Criterion, clock: int) -> list[int]:
    """The parts of the day, as the criterion has them, that this minute of the day lies in."""
    return [i for i, (start, end) in enumerate(criterion.month.slots) if start <= clock < end]


@lru_cache(64)
def _local(minute: int, tz: str) -> tuple[int, int]:
    """(day, minute of the day) there, of a minute since 1970."""
    local = datetime.fromtimestamp(minute * 60, ZoneInfo(tz))
    return local.toordinal(), local.hour * 60 + local.minute
