"""Day sheets from the database, kept there: made once a day is over, and made again, alone, when something of it comes.

A row says that a sheet is due (`made_ms` None) and how often its day was touched (`marks`): what comes while a sheet is
made lets it be made once more. Nothing rests on a kept sheet that the readings would not give again: `report --check`
makes every sheet anew.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from agent.common.center_time import TZ
from agent.common.reasons import UNREADABLE
from collector.judging.reopening import AROUND_MS
from collector.register import calendar, centers, opening_hours
from collector.register.calendar import Calendar
from collector.register.dated import DatedCenter, histories, today_ms
from collector.reports import exclusions, losses, seat_availability
from collector.reports.daily_samples import TracedReading
from collector.reports.day_samples import Case, DaySpan, collect_all, sheet_criteria
from collector.reports.day_sheets import Availability, CriterionDay, DaySheet, ExcusedTime, sheet_body, stored_sheet
from collector.reports.exclusions import Exclusion
from collector.reports.ledger import MinuteStates, Span, ledger, minutes_open, minutes_within
from collector.standard import Standards
from collector.standard.criteria import DEAF, EVERYONE
from collector.store import Store, schema, upsert
from collector.store.jobs.shards import WHOLE, Shard
from collector.store.months import raw_from

DAY_MS = 86_400_000
SETTLE_MS = 600_000
AT_ONCE = 64  # centers whose sheets of a day are made in one pass
SHEETS_UNTIL = "sheets_until_ms"  # in `about`: days before have their rows
FOR_EVER_MS = 2**53

_d = schema.day_sheets.c


def days_within(from_ms: int, to_ms: int) -> Iterator[DaySpan]:
    """The days of Pakistan that a period touches, cut to it."""
    start_ms = from_ms
    while start_ms < to_ms:
        end_ms = min(today_ms(start_ms) + DAY_MS, to_ms)  # there is no summer time
        yield DaySpan(start_ms, end_ms)
        start_ms = end_ms


# ---------------------------------------------------------------- making


@dataclass(frozen=True)
class KnownTimes:
    """What is known of some centers' time besides their readings; spans by center, in order."""

    enrolled: Mapping[str, int]
    dark: Mapping[str, Sequence[Span]]
    deaf: Sequence[Span]
    lost: Mapping[str, Sequence[losses.Loss]]

    def within(self, day: DaySpan) -> KnownTimes:
        return KnownTimes(
            self.enrolled,
            {code: _cut(spans, day) for code, spans in self.dark.items()},
            _cut(self.deaf, day),
            {
                code: [replace(loss, times=tuple(_cut(loss.times, day))) for loss in some]
                for code, some in self.lost.items()
            },
        )


def _cut(spans: Sequence[Span], day: DaySpan) -> list[Span]:
    cut = ((max(start, day.from_ms), min(end, day.to_ms)) for start, end in spans)
    return [(start, end) for start, end in cut if start < end]


def known_of(conn: sa.Connection, codes: Sequence[str], span: DaySpan) -> KnownTimes:
    table, boot = schema.devices.c, schema.readings["boot"].c
    first = (
        sa.select(table.center, sa.func.min(table.enrolled_ms)).where(table.center.in_(codes)).group_by(table.center)
    )
    query = sa.select(boot.center, boot.last_alive_ms, boot.wall_ms).where(
        boot.center.in_(codes), boot.previous_end == "power", boot.last_alive_ms.is_not(None),
        boot.wall_ms >= span.from_ms, boot.last_alive_ms < span.to_ms, boot.last_alive_ms <= boot.wall_ms,
    )  # fmt: skip
    dark: dict[str, list[Span]] = defaultdict(list)
    for row in conn.execute(query.order_by(boot.wall_ms)):
        dark[row.center].append((row.last_alive_ms, row.wall_ms))
    enrolled = {row[0]: int(row[1]) for row in conn.execute(first.group_by(table.center))}
    return KnownTimes(enrolled, dark, _deaf(conn, span), losses.of_centers(conn, codes, span.from_ms, span.to_ms))


def _deaf(conn: sa.Connection, span: DaySpan) -> list[Span]:
    """Times in which the collector was deaf."""
    table = schema.changes.c
    mine = sa.and_(table.center == EVERYONE, table.criterion == DEAF.id, table.at_ms < span.to_ms)
    spans: list[Span] = []
    since_ms: int | None = None
    for row in conn.execute(sa.select(table.now, table.at_ms).where(mine).order_by(table.id)):
        if row.now == "raised":
            since_ms = row.at_ms
        elif since_ms is not None:
            spans.append((since_ms, row.at_ms))
            since_ms = None
    return spans + ([(since_ms, span.to_ms)] if since_ms is not None else [])


def build_day(
    conn: sa.Connection,
    dated: Mapping[str, DatedCenter],
    day: DaySpan,
    standards: Standards,
    days: Calendar,
    now_ms: int,
    known: KnownTimes | None = None,
    trace: list[TracedReading] | None = None,
) -> dict[str, DaySheet]:
    """The sheets of these centers, by code. Of a day that is over they are the same at any `now_ms`. `known`: of a
    time that has this day in it, where more days of it are made. `trace` takes each reading that is judged."""
    held = standards.within(day.from_ms, day.to_ms)
    standard = held.at(day.to_ms - 1)
    tz = standard.tz if standard else TZ
    cases: dict[str, Case] = {}
    taken_out: dict[str, list[Exclusion]] = {}
    for code, center in dated.items():
        then = center.at(day.from_ms)
        hours = opening_hours.parse(then.opening, tz, days.rules(then))
        open_minutes = minutes_open(hours, day.from_ms, day.to_ms)
        taken_out[code] = exclusions.of_center(conn, then, days, standard, (day.from_ms, day.to_ms))
        spans = [(one.from_ms, one.to_ms) for one in taken_out[code]]
        cases[code] = Case(center, day, open_minutes, open_minutes & minutes_within(spans), trace)
    collect_all(conn, cases, day, held, FOR_EVER_MS if day.to_ms <= today_ms(now_ms) else now_ms)
    known = (known or known_of(conn, list(cases), day)).within(day)
    digests = tuple(version.digest for version in held.versions)
    return {code: _sheet(conn, case, known, taken_out[code], digests) for code, case in cases.items()}


@dataclass(frozen=True)
class TracedDay:
    """A day's sheet as its readings give it, and what became of each of them under each criterion."""

    sheet: DaySheet
    readings: Sequence[TracedReading]

    def criterion(self, name: str, subject: str) -> CriterionDay | None:
        """The one of that name; else the first that fell short, or the first."""
        criteria = self.sheet.criteria
        short = next((one for one in criteria if one.met < one.counted), next(iter(criteria), None))
        return next((one for one in criteria if (one.criterion, one.subject) == (name, subject)), short)


def traced(conn: sa.Connection, code: str, span: Span, standards: Standards, now_ms: int) -> TracedDay:
    """Of a day, or what there is of it. Raises CenterError, ArchiveMissing."""
    trace: list[TracedReading] = []
    known, days = histories(conn, [centers.get(conn, code)]), calendar.between(conn, *span)
    sheets = build_day(conn, known, DaySpan(*span), standards, days, now_ms, trace=trace)
    return TracedDay(sheets[code], trace)


def _sheet(
    conn: sa.Connection, case: Case, known: KnownTimes, taken_out: Sequence[Exclusion], digests: tuple[str, ...]
) -> DaySheet:
    code, lost = case.dated.code, losses.minutes(known.lost.get(case.dated.code, ()))
    states = MinuteStates(measured=case.measured, below=case.below, down=case.down)
    excused = [(one.from_ms, one.to_ms) for one in taken_out]
    dark = known.dark.get(code, ())
    facts = {"enrolled_ms": known.enrolled.get(code), "excused": excused, "dark": dark}
    book = ledger(case.open, states, ours=[*known.deaf, *lost], **facts)  # type: ignore[arg-type]
    own = ledger(case.open, states, ours=lost, **facts) if lost else None  # type: ignore[arg-type]
    promised = case.center.seats_promised
    seats = seat_availability.book(conn, code, lambda _at_ms: promised, case.seats.all(), -1)
    return DaySheet(
        center=code,
        from_ms=case.day.from_ms,
        to_ms=case.day.to_ms,
        standards=digests,
        minutes={str(name): count for name, count in book.minutes.items()},
        before=book.before,
        lost=own.minutes["ours"] if own else 0,
        availability=_availability(case, minutes_within(dark)),
        criteria=sheet_criteria(case),
        seats=tuple(seats["hours"]),
        excused=_excused(case, taken_out),
        sha256=case.evidence.hexdigest(),
        offline=len((set(case.open) - set(case.excused)) & (case.kept - case.live)),
    )


def _availability(case: Case, dark: Collection[int]) -> Availability:
    owed = set(case.open) - set(case.excused)
    battery = owed & case.battery
    return Availability(
        line_up=len(owed & case.line_up),
        line_down=len(owed & case.down),
        mains=len((owed & case.mains) - battery),
        battery=len(battery),
        off=len((owed & set(dark)) - case.measured),
    )


def _excused(case: Case, taken_out: Sequence[Exclusion]) -> tuple[ExcusedTime, ...]:
    """Each open minute under the first exclusion that has it."""
    left = set(case.excused)
    times = []
    for one in taken_out:
        mine = left & minutes_within([(one.from_ms, one.to_ms)])
        left -= mine
        times.append(ExcusedTime(exclusion=one, minutes=len(mine)))
    return tuple(times)


# ---------------------------------------------------------------- a period's sheets


def sheets_of(
    conn: sa.Connection, dated: Mapping[str, DatedCenter], span: Span, standards: Standards, now_ms: int, *, anew: bool
) -> Iterator[DaySheet]:
    """The sheets of these centers and this period, day by day: those that are kept, and the others made now. `anew`:
    all of them."""
    days, known = calendar.between(conn, *span), None
    for day in days_within(*span):
        kept = {} if anew else _kept(conn, list(dated), day, standards)
        yield from kept.values()
        missing = {code: center for code, center in dated.items() if code not in kept}
        if missing:
            known = known or known_of(conn, list(dated), DaySpan(*span))
            yield from build_day(conn, missing, day, standards, days, now_ms, known).values()


def _kept(conn: sa.Connection, codes: Sequence[str], day: DaySpan, standards: Standards) -> dict[str, DaySheet]:
    """Sheets of the whole day that nothing has touched since, made by the standards of today."""
    mine = _d.center.in_(codes) & (_d.day_ms == day.from_ms) & _d.made_ms.is_not(None)
    digests = tuple(version.digest for version in standards.within(day.from_ms, day.to_ms).versions)
    by_center = {}
    for row in conn.execute(sa.select(_d.center, _d.body).where(mine)):
        sheet = _own_sheet(row.body, row.center, day.from_ms)
        if sheet is not None and sheet.to_ms == day.to_ms and sheet.standards == digests:
            by_center[row.center] = sheet
    return by_center


def _own_sheet(body: bytes, code: str, day_ms: int) -> DaySheet | None:
    """None where somebody put another center's or day's, or what is none: it is made anew, and holds up nobody."""
    try:
        sheet = stored_sheet(body)
    except (zlib.error, *UNREADABLE):
        return None
    return sheet if sheet is not None and (sheet.center, sheet.from_ms) == (code, day_ms) else None


def kept_between(conn: sa.Connection, codes: Sequence[str], from_ms: int, to_ms: int) -> Iterator[DaySheet]:
    """The sheets of these centers that are made, of the days between these midnights, in the order of the days."""
    mine = _d.center.in_(codes) & (_d.day_ms >= from_ms) & (_d.day_ms < to_ms) & _d.made_ms.is_not(None)
    for row in conn.execute(sa.select(_d.center, _d.day_ms, _d.body).where(mine).order_by(_d.day_ms, _d.center)):
        sheet = _own_sheet(row.body, row.center, row.day_ms)
        if sheet is not None:
            yield sheet


def minutes_of(conn: sa.Connection, code: str, day_ms: int) -> dict[str, int] | None:
    """The minutes of a day's sheet by their buckets; None while it is not made."""
    mine = (_d.center == code) & (_d.day_ms == day_ms) & _d.made_ms.is_not(None)
    body = conn.scalar(sa.select(_d.body).where(mine))
    sheet = stored_sheet(body) if body is not None else None
    return None if sheet is None else dict(sheet.minutes)


# ---------------------------------------------------------------- keeping


def begin_days(store: Store, now_ms: int) -> int:
    """Rows for the days that are over, and settled; returns how many days."""
    begun = 0
    with store.keep() as conn:
        day_ms = _next_day(conn, now_ms)
        while day_ms is not None and day_ms + DAY_MS + AROUND_MS + SETTLE_MS <= now_ms:
            device = schema.devices.c
            values = [sa.literal(day_ms, sa.BigInteger), sa.literal(0)]
            chosen = sa.select(device.center, *values).where(device.enrolled_ms < day_ms + DAY_MS).distinct()
            conn.execute(sa.insert(schema.day_sheets).from_select(["center", "day_ms", "marks"], chosen))
            day_ms, begun = day_ms + DAY_MS, begun + 1
        if begun:
            conn.execute(sa.delete(schema.day_sheets).where(_d.day_ms < raw_from(conn)))
            upsert(conn, schema.about, [{"name": SHEETS_UNTIL, "value": str(day_ms)}])
    return begun


def _next_day(conn: sa.Connection, now_ms: int) -> int | None:
    """The first day without rows; at first yesterday: older sheets are made when a report asks for them."""
    until_ms = conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == SHEETS_UNTIL))
    return today_ms(now_ms) - DAY_MS if until_ms is None else int(until_ms)


def make(store: Store, standards: Standards, now_ms: int, most: int = AT_ONCE, shard: Shard = WHOLE) -> int:
    """Makes some of the sheets that are due, of one day; returns how many. Call it again and again."""
    with store.read() as conn:
        due = _due(conn, most, shard)
        made = _made(conn, due, standards, now_ms) if due else {}
    with store.keep() as conn:
        for code, day_ms, marks in due:
            mine = (_d.center == code) & (_d.day_ms == day_ms) & (_d.marks == marks)
            sheet = made.get(code)
            if sheet is None:  # its readings are gone, or its center is
                conn.execute(sa.delete(schema.day_sheets).where(mine, _d.made_ms.is_(None)))
            else:
                values = {"made_ms": now_ms, "body": sheet_body(sheet)}
                conn.execute(sa.update(schema.day_sheets).where(mine).values(values))
    return len(due)


def _due(conn: sa.Connection, most: int, shard: Shard) -> list[tuple[str, int, int]]:
    query = sa.select(_d.center, _d.day_ms, _d.marks).where(_d.made_ms.is_(None), *shard.mine(_d.center))
    rows = [
        (row.center, row.day_ms, row.marks) for row in conn.execute(query.order_by(_d.day_ms, _d.center).limit(most))
    ]
    return [row for row in rows if row[1] == rows[0][1]]


def _made(
    conn: sa.Connection, due: Sequence[tuple[str, int, int]], standards: Standards, now_ms: int
) -> dict[str, DaySheet]:
    day_ms = due[0][1]
    if day_ms < raw_from(conn):
        return {}
    known = histories(conn, centers.some_centers(conn, [code for code, *_ in due]).values())
    days = calendar.between(conn, day_ms, day_ms + DAY_MS)
    return build_day(conn, known, DaySpan(day_ms, day_ms + DAY_MS), standards, days, now_ms) if known else {}


def seats_book(hours: Iterable[Mapping[str, Any]], promised: int) -> dict[str, Any]:
    """A period's part on seats. `promised` are those of its end; an hour in which others were promised says so."""
    rows = sorted(hours, key=lambda hour: hour["hour_ms"])
    known = [hour for hour in rows if hour["usable"] is not None]
    return {
        "promised": promised,
        "open_hours": len(rows),
        "known_hours": len(known),
        "full_hours": sum((hour["fewest"] or 0) >= hour["promised"] for hour in known),
        "hours": [
            {name: value for name, value in hour.items() if name != "promised" or value != promised} for hour in rows
        ],
    }
