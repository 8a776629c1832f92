"""One center's month, checked from the signed bytes up: keys, batches, chain and numbers, rows, day sheets, report."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.access.enrolment import device_name
from collector.common.messages import Device
from collector.common.sequence_ranges import missing
from collector.ingest.times.boot_clocks import BootClocks
from collector.log.days import DAY_MS, DayDigest, begins_ms
from collector.register import centers
from collector.reports import schedule
from collector.reports.audit import day_contents, evidence_rows, rows, servers, sheets, verified_days
from collector.reports.audit.day_contents import Contents
from collector.reports.audit.mismatch import Mismatch, Mismatches
from collector.reports.audit.processes import SheetMaker, sheets_anew, sheets_kept
from collector.reports.audit.replay import Replay, SpoolName
from collector.reports.audit.verified_days import DayNotes, ReplayState, Start, VerifiedDays
from collector.reports.day_samples import Period
from collector.reports.day_sheets import DaySheet
from collector.reports.ledger import REACH_MS
from collector.reports.monthly import ReportError, period
from collector.standard import Standards
from collector.store import schema
from collector.store.cold.batches import StoredBatch
from collector.store.months import raw_from

Progress = Callable[[float], None]
ReceivedDays = Mapping[int, DayDigest | ReplayState]
Recorded = Callable[[sa.Connection, str, int, int, ReceivedDays], Iterable[Mismatch]]
"""What else is on record of a center: (conn, code, when the month begins, since which time of receipt batches are
known, these by the days of their receipt); see collector.reports.audit.recorded."""

SIGNED = 0.7  # the share of the work that the batches are; up to ROWS it is rows and records, then sheets
ROWS = 0.75


@dataclass
class Verification:
    """What was looked at, and what differs. `is_reported`: the month has a closed report, which was compared.
    `since_ms`: the day since which all was looked at; None: the whole month. `days` is for the next time."""

    center: str
    month: str
    from_ms: int = 0
    batches: int = 0
    readings: int = 0
    sheets: int = 0
    is_reported: bool = False
    since_ms: int | None = None
    found: Mismatches = field(default_factory=Mismatches)
    days: VerifiedDays = field(default_factory=dict)

    @property
    def is_true(self) -> bool:
        return not self.found.counts


@dataclass(frozen=True)
class AuditQuestion:
    """What is verified: a center's month, by these standards. With the `key` of collector.reports.audit.verified_days
    what is found is given in a form to be kept, and `since_last` leaves out days of which nothing is stored otherwise
    than when they were verified last."""

    code: str
    month: str
    standards: Standards
    now_ms: int
    key: bytes | None = None
    since_last: bool = False

    @property
    def span(self) -> Period:
        return period(self.month, TZ, self.now_ms)


@dataclass(frozen=True)
class AuditExtent:
    """How much of it is looked at: batches that were received since `begin_ms`, readings `within` a time. `start`: the
    days before were verified earlier."""

    devices: Mapping[str, Device]
    begin_ms: int
    within: tuple[int, int]
    start: Start | None = None
    contents: Contents = field(default_factory=dict)


def _nothing(_share: float) -> None:
    pass


def verify(
    conn: sa.Connection, question: AuditQuestion, *, progress: Progress = _nothing, recorded: Recorded | None = None,
    made: SheetMaker | None = None,
) -> Verification:  # fmt: skip
    """Reads alone. `made` gives the month's day sheets where somebody else makes them. Raises ReportError for what is
    no month or one whose readings were let go, CenterError."""
    center, span = centers.get(conn, question.code), question.span
    if span.from_ms < raw_from(conn):
        why = "its readings have been let go; `nabz-collector evidence` still has them"
        raise ReportError(f"month {question.month}: {why}")
    question = replace(question, code=center.code)
    done, extent = Verification(center.code, question.month, span.from_ms), _extent(conn, question)
    done.since_ms = extent.start.day_ms if extent.start else None
    done.found.add(rows.keys_of(extent.devices, device_name))
    batches = evidence_rows.HeldBatches(conn, center.code, sorted(extent.devices), extent.begin_ms)
    replay, notes = _replayed(conn, extent, batches, done, progress)
    done.readings = len(replay.readings)
    done.found.add(rows.compare(conn, center.code, replay.readings, extent.within, batches.of))
    done.found.add(servers.compare(conn, center.code, span.from_ms - REACH_MS, span.to_ms + REACH_MS))
    if recorded is not None:
        known_ms, received = _received(extent, replay)
        done.found.add(recorded(conn, center.code, span.from_ms, known_ms, received))
    progress(ROWS)
    _sheets(conn, question, done, made or _maker(conn, question, extent, progress))
    if question.key is not None and done.is_true:
        done.days = _days(extent, span, notes, question.now_ms)
    progress(1.0)
    return done


def _extent(conn: sa.Connection, question: AuditQuestion) -> AuditExtent:
    span, devices = question.span, evidence_rows.senders(conn, question.code)
    within = (span.from_ms - REACH_MS, span.to_ms + REACH_MS)
    begin_ms = evidence_rows.begin_ms(conn, sorted(devices), within[0])
    if question.key is None:
        return AuditExtent(devices, begin_ms, within)
    known = verified_days.load(conn, question.code, span.from_ms, question.key) if question.since_last else {}
    if evidence_rows.stories_of(conn, question.code):
        known = {}  # a second story may be of batches long ago
    first_ms = min(known, default=_first_day(begin_ms, span))
    contents = day_contents.contents_of(conn, question.code, sorted(devices), first_ms, question.key)
    start = verified_days.start_of(known, contents)
    if start is not None:
        begin_ms, within = start.begin_ms, (max(within[0], start.day_ms), within[1])
    return AuditExtent(devices, begin_ms, within, start, contents)


def _first_day(begin_ms: int, span: Period) -> int:
    """The first day of which all that was received is looked at."""
    return max(begins_ms(begin_ms) + DAY_MS if begin_ms else 0, span.from_ms - 2 * DAY_MS)


def _received(extent: AuditExtent, replay: Replay) -> tuple[int, ReceivedDays]:
    if extent.start is None:
        return extent.begin_ms, replay.days
    before = {day_ms: day.state for day_ms, day in extent.start.before.items()}
    return min(before), before | replay.days


def _days(extent: AuditExtent, span: Period, notes: DayNotes, now_ms: int) -> VerifiedDays:
    last_ms = begins_ms(now_ms)
    if extent.start is None:
        return notes.days(_first_day(extent.begin_ms, span), last_ms, extent.contents)
    before = {day_ms: day for day_ms, day in extent.start.before.items() if day_ms < extent.begin_ms}
    return before | notes.days(extent.begin_ms, last_ms, extent.contents)


# ---------------------------------------------------------------- the sheets and the report


def _maker(conn: sa.Connection, question: AuditQuestion, extent: AuditExtent, progress: Progress) -> SheetMaker:
    """Here and now, of the days that are looked at."""
    span = question.span
    from_ms = span.from_ms if extent.start is None else min(max(span.from_ms, extent.start.day_ms), span.to_ms)

    def made() -> list[DaySheet]:
        some, days = [], max(1, (span.to_ms - from_ms) // DAY_MS)
        for sheet in sheets_anew(conn, question.code, (from_ms, span.to_ms), question.standards, question.now_ms):
            some.append(sheet)
            progress(ROWS + (1 - ROWS) * min(1.0, len(some) / days))
        return some

    return made


def _sheets(conn: sa.Connection, question: AuditQuestion, done: Verification, made: SheetMaker) -> None:
    days, from_ms = made(), done.from_ms
    done.sheets = len(days)
    done.found.add(sheets.compare(conn, done.center, days))
    done.found.add(sheets.closed(conn, done.center, from_ms))
    if done.since_ms is not None:  # those of the days before are as they were
        until_ms = min(max(from_ms, done.since_ms), question.span.to_ms)
        days = [*sheets_kept(conn, question.code, (from_ms, until_ms), question.standards, question.now_ms), *days]
    done.found.add(_report(conn, done, question, days))


def _report(
    conn: sa.Connection, done: Verification, question: AuditQuestion, days: Sequence[DaySheet]
) -> Iterator[Mismatch]:
    try:
        kept, anew = schedule.closed_and_anew(
            conn, done.center, done.month, question.standards, question.now_ms, days
        )  # fmt: skip
    except ReportError:
        return
    except (ValueError, zlib.error):  # what is kept is no report: it has been told
        done.is_reported = True
        return
    done.is_reported = True
    yield from sheets.report(kept, anew)


# ---------------------------------------------------------------- the batches


def _replayed(
    conn: sa.Connection, extent: AuditExtent, batches: evidence_rows.HeldBatches, done: Verification,
    progress: Progress,
) -> tuple[Replay, DayNotes]:  # fmt: skip
    """All batches that may speak of a time, taken in again."""
    held = evidence_rows.held_numbers(conn, done.center)
    replay, notes = _begun(conn, extent, batches.ids, done.center, list(held)), DayNotes()
    before: StoredBatch | None = None
    for stored in batches.all():
        if before is not None and (ended_ms := begins_ms(before.received_ms)) != begins_ms(stored.received_ms):
            notes.note(ended_ms, replay)
        done.found.add(replay.take(stored))
        done.found.add(_order(conn, before, stored))
        before, done.batches = stored, done.batches + 1
        progress(SIGNED * done.batches / len(batches.ids))
    replay.finish()
    notes.note(begins_ms(before.received_ms) if before else extent.begin_ms, replay)
    for name, numbers in held.items():
        ranges = replay.spools[name].ranges if name in replay.spools else []
        lacking = [part for low, high in numbers for part in missing(ranges, low, high)]
        done.found.add(
            Mismatch.of("batches_missing", device=name[0], spool=name[1], numbers=f"{low}-{high}")
            for low, high in lacking
        )
    return replay, notes


def _begun(
    conn: sa.Connection, extent: AuditExtent, ids: Sequence[int], code: str, names: Sequence[SpoolName]
) -> Replay:
    """Before the first batch: as the verification before noted it, or as what is stored tells it."""
    stories = evidence_rows.stories_of(conn, code)
    if extent.start is not None:
        return Replay(extent.devices, extent.start.state.held, stories, extent.start.state.clocks)
    begin_ms = extent.begin_ms
    boots = evidence_rows.boots_before(conn, sorted(extent.devices), begin_ms) if begin_ms else BootClocks()
    states = evidence_rows.spools_before(conn, names, ids[0]) if begin_ms and ids else {}
    return Replay(extent.devices, states, stories, boots)


def _order(conn: sa.Connection, before: StoredBatch | None, stored: StoredBatch) -> Iterator[Mismatch]:
    """Batches of a center are received one after the other, as long as our own clock was not set back, and no story of
    before was taken."""
    if before is None or stored.received_ms >= before.received_ms:
        return
    j, s = schema.clock_jumps.c, schema.second_stories.c
    jump = sa.select(j.to_ms).where(j.to_ms <= stored.received_ms, j.from_ms >= before.received_ms - 600_000)
    story = sa.select(s.spool).where(s.center == stored.center, s.state == "taken")
    if conn.execute(jump).first() is None and conn.execute(story).first() is None:
        yield Mismatch.of("batch_order", **stored.names, other=str(before.id))
