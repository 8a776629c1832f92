"""One center's month, checked from the signed bytes up: keys, batches, chain and numbers, rows, day sheets, report."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.access.enrolment import device_name
from collector.audit import evidence_rows, rows, servers, sheets
from collector.audit.mismatch import Mismatch, Mismatches
from collector.audit.processes import SheetMaker, sheets_anew
from collector.audit.replay import Replay
from collector.common.messages import Device
from collector.common.sequence_ranges import missing
from collector.ingest.times.boot_clocks import BootClocks
from collector.log.days import DayDigest
from collector.register import centers
from collector.reports import schedule
from collector.reports.day_sheets import DaySheet
from collector.reports.ledger import REACH_MS
from collector.reports.monthly import ReportError, period
from collector.standard import Standards
from collector.store import schema
from collector.store.cold.batches import StoredBatch
from collector.store.months import raw_from

Progress = Callable[[float], None]
Recorded = Callable[[sa.Connection, str, int, int, Mapping[int, DayDigest]], Iterable[Mismatch]]
"""What else is on record of a center: (conn, code, when the month begins, from which time of receipt on batches were
looked at, these by the days of their receipt); see collector.audit.recorded."""

SIGNED = 0.8  # the share of the work that the batches are


@dataclass
class Verification:
    """What was looked at, and what differs. `is_reported`: the month has a closed report, which was compared."""

    center: str
    month: str
    batches: int = 0
    readings: int = 0
    sheets: int = 0
    is_reported: bool = False
    found: Mismatches = field(default_factory=Mismatches)

    @property
    def is_true(self) -> bool:
        return not self.found.counts


def _nothing(_share: float) -> None:
    pass


def verify(
    conn: sa.Connection, code: str, month: str, standards: Standards, now_ms: int, *, progress: Progress = _nothing,
    recorded: Recorded | None = None, made: SheetMaker | None = None,
) -> Verification:  # fmt: skip
    """Reads alone. `made` gives the month's day sheets where somebody else makes them. Raises ReportError for what is
    no month or one whose readings were let go, CenterError."""
    center, span = centers.get(conn, code), period(month, TZ, now_ms)
    if span.from_ms < raw_from(conn):
        raise ReportError(f"month {month}: its readings have been let go; `nabz-collector evidence` still has them")
    done = Verification(center.code, month)
    within = (span.from_ms - REACH_MS, span.to_ms + REACH_MS)
    devices = evidence_rows.senders(conn, center.code)
    done.found.add(rows.keys_of(devices, device_name))
    begin = evidence_rows.begin_ms(conn, sorted(devices), within[0])
    batches = evidence_rows.HeldBatches(conn, center.code, sorted(devices), begin)
    replay = _replayed(conn, center.code, devices, begin, batches, done, progress)
    done.found.add(rows.compare(conn, center.code, replay.readings, within, batches.of))
    done.readings = len(replay.readings)
    done.found.add(servers.compare(conn, center.code, *within))
    if recorded is not None:
        done.found.add(recorded(conn, center.code, span.from_ms, begin, replay.days))
    progress(SIGNED + 0.05)
    found = sheets_anew(conn, center.code, month, standards, now_ms) if made is None else made()
    done.sheets = len(found)
    done.found.add(sheets.compare(conn, center.code, found))
    done.found.add(sheets.closed(conn, center.code, span.from_ms))
    done.found.add(_report(conn, done, standards, now_ms, found))
    progress(1.0)
    return done


def _report(
    conn: sa.Connection, done: Verification, standards: Standards, now_ms: int, found: Sequence[DaySheet]
) -> Iterator[Mismatch]:
    try:
        kept, anew = schedule.closed_and_anew(conn, done.center, done.month, standards, now_ms, found)
    except ReportError:
        return
    except (ValueError, zlib.error):  # what is kept is no report: it has been told
        done.is_reported = True
        return
    done.is_reported = True
    yield from sheets.report(kept, anew)


# ---------------------------------------------------------------- the batches


def _replayed(
    conn: sa.Connection, code: str, devices: dict[str, Device], begin: int, batches: evidence_rows.HeldBatches,
    done: Verification, progress: Progress,
) -> Replay:  # fmt: skip
    """All batches that may speak of a time, taken in again."""
    names, ids = sorted(devices), batches.ids
    held = evidence_rows.held_numbers(conn, code)
    boots = evidence_rows.boots_before(conn, names, begin) if begin else BootClocks()
    states = evidence_rows.spools_before(conn, list(held), ids[0]) if begin and ids else {}
    replay = Replay(devices, states, evidence_rows.stories_of(conn, code), boots)
    before: StoredBatch | None = None
    for stored in batches.all():
        done.found.add(replay.take(stored))
        done.found.add(_order(conn, before, stored))
        before, done.batches = stored, done.batches + 1
        progress(SIGNED * done.batches / len(ids))
    replay.finish()
    for name, numbers in held.items():
        ranges = replay.spools[name].ranges if name in replay.spools else []
        lacking = [part for low, high in numbers for part in missing(ranges, low, high)]
        done.found.add(
            Mismatch.of("batches_missing", device=name[0], spool=name[1], numbers=f"{low}-{high}")
            for low, high in lacking
        )
    return replay


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
