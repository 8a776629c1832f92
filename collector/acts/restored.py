"""What follows when decisions that a restored database lacked were carried out again from the journal: the register is
what its facts say, a center that was registered since the copy is there again, and reported months are revised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from collector.disputes.dispute import month_span
from collector.register import calendar, centers, dated, facts
from collector.register.center import Center
from collector.reports import revisions
from collector.store import schema, upsert
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
    lacking = codes - centers.some_centers(conn, codes).keys()
    found = [center for code in sorted(lacking) if (center := _registered(code, known[code], now_ms)) is not None]
    upsert(conn, schema.centers, [center.row() for center in found])
    dated.apply(conn, codes - lacking | {center.code for center in found}, now_ms)
    for code, from_ms in dated.touched([fact for own in known.values() for fact in own]).items():
        later = [row["from_ms"] for row in rows if row["center"] == code]
        revisions.record_facts(conn, [code], max(from_ms, min(later)), now_ms)


def _registered(code: str, own: Sequence[facts.Fact], now_ms: int) -> Center | None:
    """A center as its first facts have it; None where what is known makes none: an import that was taken back."""
    past = facts.timeline(own)
    if not past or "opening" not in past[0][1]:
        return None
    values = {"name": "", "tier": "one", "seats_promised": 0, "lifecycle": "applied", **past[0][1]}
    return Center(code=code, since_ms=now_ms, changed_ms=now_ms, **values)  # type: ignore[arg-type]


def _calendar(conn: sa.Connection, rows: Rows, now_ms: int) -> None:
    everybody = [center.code for center in centers.all_centers(conn)] if rows else []
    for row in rows:
        codes = [row["subject"]] if row["scope"] == "center" else everybody
        if row["kind"] in (*calendar.RULING, *calendar.EXCUSING, "shedding") and row["from_ms"] < now_ms:
            revisions.record_calendar(conn, codes, row["from_ms"], row["to_ms"], now_ms)
