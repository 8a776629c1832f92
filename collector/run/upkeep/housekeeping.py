"""What the database needs now and then: months made ahead, sums of hours, months reported, and what is old let go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import sqlalchemy as sa

from agent.common.logs import Event
from collector.acts import notices
from collector.acts.notices import NoticeBoard
from collector.common import months
from collector.common.config import Settings
from collector.ingest import server_results, spools, taking
from collector.judging import clock, engines, fast_lane, patterns, place_facts, score, server_samples, shared_seats
from collector.reports import day_store, schedule
from collector.reports.outlook import BurnWindows
from collector.reports.outlook import schedule as month_risks
from collector.standard import Standards
from collector.store import Store, schema
from collector.store.cold import parts
from collector.store.jobs.shards import WHOLE, Shard
from collector.store.months import Retention, ahead, drop_empty, forget, is_busy, patiently, settle
from collector.store.rollups import MOST, roll

PARTITIONS_MADE = Event(
    __name__, "info", "partitions_made", "monthly partitions of tables were made ahead", fields="partitions last"
)
PARTITIONS_DROPPED = Event(
    __name__, "info", "partitions_dropped", "partitions of days that the archive has were dropped whole",
    fields="partitions last",
)  # fmt: skip
PARTITIONS_WAIT = Event(
    __name__, "warning", "partitions_wait", "partitions could not be made or dropped, as somebody reads the tables for "
    "long; it is tried again", fields="error",
)  # fmt: skip
HOLDERS_TOLD = Event(
    __name__, "info", "report_holders_told", "persons who were given a report that was revised are written to",
    key="center", fields="month persons",
)  # fmt: skip
REPORTS_DUE = Event(__name__, "info", "reports_due", "months are over; their reports are made", fields="months")
FORGOTTEN = Event(
    __name__, "info", "rows_deleted", "rows older than the settings keep were deleted", key="table", fields="rows"
)
SEATS_SHARED = Event(
    __name__, "warning", "seats_shared", "some PCs stand on the roll calls of two centers at once", fields="centers"
)
ENGINES_DISAGREE = Event(
    __name__, "warning", "engines_disagree", "speed engines disagree about the rate of a line", fields="findings"
)
DOUBTS = Event(
    __name__, "warning", "doubts_found", "places, seats or power supplies of centers do not fit what else is known",
    fields="findings",
)  # fmt: skip
INDEXED = Event(
    __name__, "info", "partition_indexed", "a partition whose month is over got its index by center", key="partition"
)

HOLE = Event(
    __name__, "error", "readings_lacking", "readings that a gateway numbered are not held here and do not come",
    key="device", fields="center detail",
)  # fmt: skip
STORY_FILED = Event(
    __name__, "info", "story_filed", "readings of a second story that a person has taken were filed", key="device",
    fields="readings",
)  # fmt: skip

EVERY_S = 60.0
FORGET_MS = 3_600_000
SHEETS_A_TICK = 2  # passes, each of many centers: a nation's day is made within some hours


def archived_tables() -> frozenset[str]:
    """Those that the archive empties, where it is installed."""
    names = [schema.readings[kind].name for kind in schema.readings if kind not in parts.SELDOM]
    return frozenset([schema.evidence.name, *names]) if parts.installed() else frozenset()


def _tell_holders(board: NoticeBoard, conn: sa.Connection, code: str, from_ms: int, number: int, now_ms: int) -> None:
    if count := notices.tell_holders(conn, board, code, from_ms, number, now_ms):
        HOLDERS_TOLD.log(center=code, month=months.named(from_ms), persons=count)


class Housekeeping:
    """`tick` is to be called every minute or so; `store` should be its own, so that no writer waits for it."""

    def __init__(self, store: Store, settings: Settings, standards: Standards, now_ms: Callable[[], int]) -> None:
        keep = settings.keep
        self._store, self._standards, self._now_ms = store, standards, now_ms
        self._kept = Retention(keep.raw_days, keep.hours_days, keep.evidence_days)
        self._forgot_ms = 0
        self._archived_after_ms = round(settings.archive.after_h * 3_600_000)
        self._daily = archived_tables() if self._archived_after_ms else frozenset()
        self._providers = settings.measure.providers
        self._burns = [BurnWindows(one.long_days, one.short_days, one.times) for one in settings.alerts.burn]
        self._tell_holders = partial(_tell_holders, notices.board_of(settings))

    def tick(self) -> None:
        """All three, one after the other; the running collector has a job of each."""
        self.keep()
        self.make_sheets()
        self.make_reports()

    def make_sheets(self, shard: Shard = WHOLE) -> None:
        now_ms = self._now_ms()
        if shard.is_first and self._clocks_agree(now_ms):
            day_store.begin_days(self._store, now_ms)
        for _ in range(SHEETS_A_TICK):
            if not day_store.make(self._store, self._standards, now_ms, shard=shard):
                break

    def make_reports(self, shard: Shard = WHOLE) -> None:
        now_ms = self._now_ms()
        if shard.is_first and self._clocks_agree(now_ms):
            month_risks.look(self._store, self._standards, now_ms, burns=self._burns)
            if begun := schedule.begin(self._store, self._standards, now_ms):
                REPORTS_DUE.log(months=begun)
        schedule.finish(self._store, self._standards, now_ms, shard=shard, supersede=self._tell_holders)

    def _clocks_agree(self, now_ms: int) -> bool:
        with self._store.read() as conn:
            return clock.agreement(conn, now_ms) == "agrees"

    def keep(self) -> None:
        """Months ahead, holes, sums of hours; once an hour what is found over many days, and what is old is let go."""
        now_ms = self._now_ms()
        self._make_partitions(now_ms)
        with self._store.keep() as conn:
            findings = spools.report_holes(conn, now_ms)
        for finding in findings:
            HOLE.log(device=finding.device, center=finding.center, detail=finding.detail)
        self._file_stories(now_ms)
        while roll(self._store, now_ms) == MOST:
            pass
        if now_ms - self._forgot_ms >= FORGET_MS:
            with self._store.read() as conn:  # for seconds, in which others write
                shared, apart = shared_seats.findings(conn, now_ms), engines.findings(conn, now_ms)
                doubts = [
                    *place_facts.findings(conn, now_ms, self._providers), *fast_lane.findings(conn, now_ms),
                    *patterns.findings(conn, now_ms),
                ]  # fmt: skip
            with self._store.keep() as conn:
                if pairs := place_facts.insert(conn, shared, now_ms):
                    SEATS_SHARED.log(centers=pairs)
                if total := place_facts.insert(conn, apart, now_ms):
                    ENGINES_DISAGREE.log(findings=total)
                if total := place_facts.record(conn, doubts, now_ms):
                    DOUBTS.log(findings=total)
                server_samples.forget_answered(conn, now_ms)
                server_results.forget_overtaken(conn, now_ms)
                score.make(conn, now_ms)
            with self._store.read() as conn:
                needed_ms = schedule.reported_until(conn)
            for table, count in forget(self._store, self._kept, now_ms, needed_ms).items():
                FORGOTTEN.log(table=table, rows=count)
            for part in settle(self._store, now_ms):
                INDEXED.log(partition=part)
            self._drop_partitions(now_ms)
            self._forgot_ms = now_ms

    def _file_stories(self, now_ms: int) -> None:
        with self._store.read() as conn:
            due = taking.due(conn)
        for device, spool in due:
            with self._store.write() as conn:
                STORY_FILED.log(device=device, readings=taking.file(conn, device, spool, now_ms))

    def _make_partitions(self, now_ms: int) -> None:
        with _or_later(), self._store.keep() as conn:
            patiently(conn)
            if made := ahead(conn, now_ms, self._daily):
                PARTITIONS_MADE.log(partitions=len(made), last=made[-1])

    def _drop_partitions(self, now_ms: int) -> None:
        with _or_later():
            if self._daily and (dropped := drop_empty(self._store, now_ms - self._archived_after_ms)):
                PARTITIONS_DROPPED.log(partitions=len(dropped), last=dropped[-1])


@contextmanager
def _or_later() -> Iterator[None]:
    """Who reads the tables for long is not waited for: the next run tries again."""
    try:
        yield
    except sa.exc.OperationalError as error:
        if not is_busy(error):
            raise
        PARTITIONS_WAIT.log(error=error)
