"""What a transaction collected, written table by table before it commits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from collector.ingest import pulse, spools, stories
from collector.ingest.rows import PROVEN, BatchWriter, Row
from collector.ingest.times import boot_clocks
from collector.judging import reopening
from collector.judging.evaluate import save_newest
from collector.judging.outages import gaps
from collector.remote import reports
from collector.store import bulk_insert, center_states, schema, upsert
from collector.store.rollups import HOUR_MS

QUARANTINE_ROWS = 10_000
REPEAT_MS = 3_600_000  # the same doubt about the same gateway is written once an hour
REPEATS_MS = {"over_quota": 24 * REPEAT_MS}  # and these more rarely


def flush(conn: sa.Connection, writer: BatchWriter, silent_after_ms: int = 0) -> None:
    """Writes everything, one statement a table."""
    for table, rows in [(schema.evidence, writer.evidence), *_by_table(writer.readings)]:
        bulk_insert(conn, table, rows)
    save_newest(conn, list(writer.latest.values()))
    now_ms = writer.now_ms
    moves = boot_clocks.flush(conn, writer.boots, now_ms)
    reopening.record_moves(conn, moves, now_ms)
    if moves:
        moved = gaps.recompute(conn, _spans(moves), now_ms)
        reopening.record_outages(conn, moved, now_ms)
    upsert(conn, schema.late_hours, _late_hours(writer, moves))
    due_ms = now_ms + silent_after_ms
    pulse.record(conn, [_pulse_row(writer, code, due_ms) for code in sorted(writer.heard)])
    center_states.heard(conn, writer.heard, now_ms)
    reports.record(conn, writer.settings, now_ms)
    spools.save(conn, writer.spools, writer.lost, now_ms)
    if writer.tallies is not None:
        writer.tallies.save()
    stories.save(conn, writer.stories)
    if doubts := _news(conn, writer):
        conn.execute(sa.insert(schema.integrity), doubts)
    if writer.quarantined:
        conn.execute(sa.insert(schema.set_aside), writer.quarantined[-QUARANTINE_ROWS:])
        newest = conn.scalar(sa.select(sa.func.max(schema.set_aside.c.id))) or 0
        conn.execute(sa.delete(schema.set_aside).where(schema.set_aside.c.id <= newest - QUARANTINE_ROWS))


def _spans(moves: Iterable[tuple[int, str]]) -> dict[str, tuple[int, int]]:
    """From when to when readings of each center were moved."""
    times: dict[str, list[int]] = defaultdict(list)
    for at_ms, center in moves:
        times[center].append(at_ms)
    return {center: (min(some), max(some)) for center, some in times.items()}


def _by_table(readings: Mapping[str, list[Row]]) -> Iterable[tuple[sa.Table, list[Row]]]:
    return ((schema.readings[kind], rows) for kind, rows in sorted(readings.items()))


def _late_hours(writer: BatchWriter, moves: Iterable[tuple[int, str]]) -> list[Row]:
    """The hours that had ended when these readings of them came, or moved: their sums must be made (again)."""
    hours = {
        (row["wall_ms"] // HOUR_MS * HOUR_MS, row["center"])  # type: ignore[operator]
        for kind in schema.FIGURES
        for row in writer.readings.get(kind, ())
    } | {(at_ms // HOUR_MS * HOUR_MS, center) for at_ms, center in moves}
    ended = sorted((hour, center) for hour, center in hours if hour + HOUR_MS <= writer.now_ms)
    return [{"hour_ms": hour, "center": center, "marked_ms": writer.now_ms} for hour, center in ended]


def _pulse_row(writer: BatchWriter, code: str, due_ms: int) -> Row:
    return {
        "center": code,
        "device": writer.heard[code],
        "heard_ms": writer.now_ms,
        "due_ms": due_ms,
        "backlog_ms": writer.now_ms if code in writer.backlogs else None,
        "clock_ms": writer.clocks.get(code),
    }


def _news(conn: sa.Connection, writer: BatchWriter) -> list[Row]:
    """The doubts worth a row: proven ones always, others once an hour for each gateway."""
    table = schema.integrity.c
    news: list[Row] = []
    others: dict[tuple[object, object], Row] = {}
    for row in writer.integrity:
        if row["finding"] in PROVEN:
            news.append(row)
        else:
            others.setdefault((row["finding"], row["device"]), row)
    for (finding, device), row in others.items():
        query = sa.select(table.id).where(
            table.finding == finding,
            table.device == device,
            table.at_ms > writer.now_ms - REPEATS_MS.get(str(finding), REPEAT_MS),
        )
        if conn.execute(query.limit(1)).first() is None:
            news.append(row)
    return news
