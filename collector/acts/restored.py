"""What follows when decisions that a restored database lacked were carried out again from the journal: the register is
what its facts say, reported months are revised, and incidents have the members that fit what people made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.desk import groups, tables
from collector.desk.incident import Incident
from collector.judging import reopening
from collector.register import calendar, centers, dated, facts, imports
from collector.reports.disputes.dispute import month_span
from collector.store import schema
from collector.store.journal import Entry

FOLLOWED = {"facts", "imports", "calendar", "disputes", "inspections", "incidents", "incident_events"}  # tables

Rows = Sequence[Mapping[str, Any]]


def follow(conn: sa.Connection, entries: Iterable[Entry], now_ms: int) -> None:
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        if entry.table in FOLLOWED:
            rows[entry.table] += entry.rows
    for row in rows["imports"]:
        imports.follow_undone(conn, row["at_ms"], row["sha256"], now_ms)
    _facts(conn, rows["facts"], now_ms)
    _calendar(conn, rows["calendar"], now_ms)
    for row in rows["disputes"]:
        if row["state"] == "decided":
            reopening.record_dispute(conn, row["center"], month_span(row["month"])[0], now_ms)
    for row in rows["inspections"]:
        reopening.record_inspection(conn, row["center"], row["inspected_ms"], now_ms)
    _incidents(conn, rows["incidents"], [row for row in rows["incident_events"] if row["act"] == "split"], now_ms)


def _facts(conn: sa.Connection, rows: Rows, now_ms: int) -> None:
    codes = {str(row["center"]) for row in rows}
    if not codes:
        return
    known = facts.facts_of(conn, codes)
    dated.apply(conn, codes, now_ms)
    for code, from_ms in dated.touched([fact for own in known.values() for fact in own]).items():
        later = [row["from_ms"] for row in rows if row["center"] == code]
        reopening.record_facts(conn, [code], max(from_ms, min(later)), now_ms)


def _calendar(conn: sa.Connection, rows: Rows, now_ms: int) -> None:
    everybody = [center.code for center in centers.all_centers(conn)] if rows else []
    for row in rows:
        codes = [row["subject"]] if row["scope"] == "center" else everybody
        if row["kind"] in (*calendar.RULING, *calendar.EXCUSING, "shedding") and row["from_ms"] < now_ms:
            reopening.record_calendar(conn, codes, row["from_ms"], row["to_ms"], now_ms)


def _incidents(conn: sa.Connection, rows: Rows, splits: Rows, now_ms: int) -> None:
    """Those that were merged first: one that they were taken into has members then; then those that were parted."""
    i, numbers = schema.incidents.c, set[int]()
    for scope, place, opened_ms in {(row["scope"], row["place"], row["opened_ms"]) for row in rows}:
        incidents = tables.some(conn, (i.scope == scope) & (i.place == place) & (i.opened_ms == opened_ms))
        numbers |= {incident.id for incident in incidents}
    merged = set(conn.scalars(sa.select(i.id).where(i.id.in_(numbers), i.state == "merged")))
    for number in sorted(merged):
        _fit_members(conn, tables.get(conn, number), now_ms)
    for row in sorted(splits, key=lambda one: int(one["id"])):
        _part(conn, row, now_ms)
    for number in sorted(numbers - merged):
        _fit_members(conn, tables.get(conn, number), now_ms)


def _part(conn: sa.Connection, row: Mapping[str, Any], now_ms: int) -> None:
    """The centers that a person parted from an incident are in their own again, or where that was taken into."""
    made, source, codes = groups.split_off(row)
    mine = [one for one in tables.members(conn, [source]) if one.center in codes]
    apart = tables.some(conn, schema.incidents.c.id == made)
    if row["incident"] != made or not mine or not apart:
        return
    target = tables.get(conn, apart[0].merged_into or made)
    tables.move(conn, tables.get(conn, source), target, now_ms, mine)
    for number in (source, target.id):
        tables.recount(conn, tables.get(conn, number), now_ms)


def _fit_members(conn: sa.Connection, incident: Incident, now_ms: int) -> None:
    """One that the database did not know has no members: it is over until a flag that is raised again reopens it, with
    its owner and notes. Members of one that a person ended leave, or go where it was taken into."""
    members = tables.members(conn, [incident.id])
    target = tables.some(conn, schema.incidents.c.id == incident.merged_into)
    if not incident.is_open or incident.snoozed_until_ms is not None:
        tables.hush(conn, incident.id)
    if incident.is_open and members:
        return
    if incident.is_open or (incident.state == "merged" and not target):
        incident = tables.change(
            conn, incident, {"state": "resolved", "resolved_ms": now_ms, "ack_until_ms": None, "merged_into": None}
        )
        tables.record(conn, incident, "noted", now_ms, detail=Reason.of("incident.restored"), quiet=True)
    if target:
        tables.move(conn, incident, target[0], now_ms, members)
        tables.recount(conn, target[0], now_ms)
    else:
        tables.leave(conn, members, now_ms)
    tables.recount(conn, incident, now_ms)
