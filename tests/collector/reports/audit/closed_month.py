"""A month of three centers as a collector has it when it is over: evidence, rows, day sheets, closed reports."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.ingest import server_results
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.judging import reopening
from collector.log import days, sequencing
from collector.log.sequencing import LogSigner
from collector.register import calendar
from collector.register.calendar import CalendarEntry
from collector.reports import day_store, schedule
from collector.reports.audit import verify
from collector.reports.audit.recorded import RecordedFacts
from collector.reports.audit.verify import AuditQuestion, Verification
from collector.store import Store, schema, upsert
from tests.timelines.plays.order_play import (
    BEGIN,
    DAY,
    HOUR,
    MONTH,
    REPORTED,
    SETTINGS,
    STANDARDS,
    OrderPlay,
    as_ready,
    drawn,
    in_time,
    template,
)

CODE = "LHR-1"
ORIGIN = "nabz.example/log"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAME = "2026-11"


def played(folder: Path, play: OrderPlay, order: str, seed: int, last: int = 0) -> Path:
    """The database of a collector that has taken a play in some order, but for the `last` so many."""
    path = folder / f"{order}-{seed}.db"
    shutil.copy(template(folder, play), path)
    (folder / "template.db").unlink()
    store = Store.open(f"sqlite:///{path}")
    ingest = Ingest(store, play.server, judge_with(SETTINGS, STANDARDS))
    for record in play.records:
        with store.write() as conn:
            server_results.take_record(conn, record, BEGIN, STANDARDS)
    draw = random.Random(seed)
    arrivals = in_time(as_ready(play) if order == "ready" else drawn(play, draw, newest_first=order == "newest"))
    for now_ms, _, message in arrivals[: len(arrivals) - last]:
        ingest.take([message], now_ms)
    store.close()
    return path


def logged(store: Store, now_ms: int) -> None:
    """What the collector's job does: days closed, leaves numbered, the head signed."""
    signer = sequencing.begin(store, LOG_KEY, ORIGIN, now_ms)
    with store.keep() as conn:
        sequencing.adopt(conn, [(version.id, version.digest) for version in STANDARDS.versions], now_ms)
    days.close_days(store, now_ms, most=40)
    while sequencing.sequence(store, signer, now_ms):
        pass


def close(path: Path) -> None:
    """The month is over: an hour was closed by two persons, the sheets are made, and the reports."""
    store = Store.open(f"sqlite:///{path}")
    logged(store, MONTH + HOUR)
    entry = CalendarEntry(
        kind="closure", scope="center", subject=CODE, from_ms=BEGIN, to_ms=BEGIN + HOUR // 2, recorded_ms=BEGIN,
        recorded_by="Ali", reason="flood",
    )  # fmt: skip
    with store.write() as conn:
        calendar.add(conn, [entry], second="Sara")
        upsert(conn, schema.about, [{"name": day_store.SHEETS_UNTIL, "value": str(MONTH)}])
    day_store.begin_days(store, MONTH + 31 * DAY)
    while day_store.make(store, STANDARDS, REPORTED):
        pass
    schedule.begin(store, STANDARDS, REPORTED)
    while schedule.finish(store, STANDARDS, REPORTED + reopening.SETTLE_MS):
        pass
    logged(store, REPORTED + HOUR)
    store.close()


def audited(
    store: Store, code: str = CODE, *, with_log: bool = True, since_last: bool = False, key: bytes | None = None
) -> Verification:
    recorded = RecordedFacts(STANDARDS, LogSigner(ORIGIN, LOG_KEY).public) if with_log else None
    question = AuditQuestion(code, NAME, STANDARDS, REPORTED, key, since_last)
    with store.read() as conn:
        return verify.verify(conn, question, recorded=recorded)


def run(store: Store, statement: sa.Executable) -> None:
    """What somebody with write access to the database does."""
    with store.write() as conn:
        assert conn.execute(statement).rowcount > 0
