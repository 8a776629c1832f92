"""What follows when decisions that a restored database lacked were carried out again from the journal: the register is
what its facts say, and reported months are revised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from collector.register import calendar, centers, dated, facts
from collector.reports import revisions
from collector.reports.disputes.dispute import month_span
from collector.store.journal import Entry

Rows = Sequence[Mapping[str, Any]]


def follow(conn: sa.Connection, entries: Iterable[Entry], now_ms: int) -> None:
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        if entry.table in ("facts", "calendar", "disputes", "inspections"):
            rows[entry.table] += entry.rows
    _facts(conn, rows["facts"], now_ms)
    _calendar(conn, rows["calendar"], now_ms)
    for row in rows["disputes"]:
        if row["state"] == "decided":
            revisions.record_dispute(conn, row["center"], month_span(row["month"])[0], now_ms)
    for row in rows["inspections"]:
        revisions.record_inspection(conn, row["center"], row["inspected_ms"], now_ms)


def _facts(conn: sa.Connection, rows: Rows, now_ms: int) -> None:
    codes = {str(row["center"]) for row in rows}
    if not codes:
        return
    known = facts.facts_of(conn, codes)
    dated.apply(conn, codes, now_ms)
    for code, from_ms in dated.touched([fact for own in known.values() for fact in own]).items():
        later = [row["from_ms"] for row in rows if row["center"] == code]
        revisions.record_facts(conn, [code], max(from_ms, min(later)), now_ms)


def _calendar(conn: sa.Connection, rows: Rows, now_ms: int) -> None:
    everybody = [center.code for center in centers.all_centers(conn)] if rows else []
    for row in rows:
        codes = [row["subject"]] if row["scope"] == "center" else everybody
        if row["kind"] in (*calendar.RULING, *calendar.EXCUSING, "shedding") and row["from_ms"] < now_ms:
            revisions.record_calendar(conn, codes, row["from_ms"], row["to_ms"], now_ms)
