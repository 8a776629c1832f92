"""What people recorded, and what was closed, beside the transparency log: rows that were edited or taken away, days
whose batches are no longer those that were logged, and the log itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from agent.common.reasons import UNREADABLE
from collector.common.months import month_after, named
from collector.log import checking, days
from collector.log.notes import NoteKey
from collector.log.sequencing import origin_of
from collector.register.dated import day_ms
from collector.reports.audit.mismatch import Mismatch, MismatchKind
from collector.reports.audit.verified_days import ReplayState
from collector.reports.disputes import attachments
from collector.standard import Standards
from collector.store import schema
from collector.store.journal import leaves
from collector.store.journal.leaves import LeafKind

_l, _r = schema.log_leaves.c, schema.reports.c

Leaves = list[Any]
ReceivedDays = Mapping[int, days.DayDigest | ReplayState]  # by when they begin
# What a row that was edited, and one that was taken away, is called; and the table.
ROWS: dict[LeafKind, tuple[MismatchKind, MismatchKind, sa.Table, str]] = {
    "facts": ("fact_edited", "fact_missing", schema.facts, "name"),
    "calendar": ("calendar_edited", "calendar_missing", schema.calendar, "kind"),
    "decisions": ("decision_edited", "decision_missing", schema.decisions, "act"),
    "disputes": ("dispute_edited", "dispute_missing", schema.disputes, "month"),
    "attachments": ("attachment_edited", "attachment_missing", schema.attachments, "name"),
    "adoptions": ("adoption_edited", "adoption_missing", schema.adoptions, "standard"),
    "inspections": ("inspection_edited", "inspection_missing", schema.inspections, "center"),
}

EVERYWHERE: tuple[LeafKind, ...] = ("calendar", "adoptions")  # of no center, or of many


@dataclass(frozen=True)
class RecordedFacts:
    """To be given to `verify`. `key` is the log's own."""

    standards: Standards
    key: NoteKey

    def __call__(
        self,
        conn: sa.Connection,
        code: str,
        month_ms: int,
        begin: int,
        received: ReceivedDays,
    ) -> Iterator[Mismatch]:
        if not origin_of(conn):
            return
        for kind in ROWS:
            yield from _rows(conn, kind, "" if kind in EVERYWHERE else code)
        yield from _files(conn, code)
        yield from _standards(conn, self.standards)
        yield from _days(conn, code, begin, received)
        yield from _records(conn, code, month_ms)
        yield from _reports(conn, code, month_ms)
        for reason in checking.check_some(conn, self.key, _bodies(conn, code)):
            yield Mismatch.of("log_altered", found=reason)


def _leaves(conn: sa.Connection, kind: LeafKind, center: str) -> Leaves:
    query = sa.select(_l.id, _l.number, _l.name, _l.body).where(_l.kind == kind, _l.center == center)
    return list(conn.execute(query.order_by(_l.id)))


def _bodies(conn: sa.Connection, code: str) -> Iterator[tuple[int | None, bytes]]:
    rows = conn.execute(sa.select(_l.number, _l.body).where(_l.center.in_(("", code))))
    return ((row.number, bytes(row.body)) for row in rows)


def _rows(conn: sa.Connection, kind: LeafKind, center: str) -> Iterator[Mismatch]:
    edited, missing, table, label = ROWS[kind]
    newest: dict[str, tuple[str, int]] = {}
    for leaf in _leaves(conn, kind, center):
        for mark in leaves.marks_in(bytes(leaf.body)):
            base, _, whole = mark.partition(":")
            newest[base] = whole, leaf.id
    query = sa.select(table).order_by(*table.primary_key)
    (key,) = table.primary_key
    held = set()
    for row in conn.execute(query.where(table.c.center == center) if center else query).mappings():
        base, _, whole = leaves.mark_of(kind, dict(row)).partition(":")
        held.add(base)
        if newest.get(base, ("", 0))[0] != whole and row.get("act") not in leaves.UNLOGGED:
            names = {"id": str(row[key.name])} | ({label: str(row[label])} if kind != "calendar" else {})
            yield Mismatch.of(edited, **names)
    for base, (_, leaf_id) in newest.items():
        if base not in held:
            yield Mismatch.of(missing, leaf=str(leaf_id))


def _files(conn: sa.Connection, code: str) -> Iterator[Mismatch]:
    for one in attachments.of_center(conn, code):
        if not attachments.is_whole(conn, one):
            yield Mismatch.of("attachment_edited", id=one.attachment, name=one.name)


def _standards(conn: sa.Connection, standards: Standards) -> Iterator[Mismatch]:
    logged = {str(leaf.name): _facts(leaf).get("sha256") for leaf in _leaves(conn, "standard", "")}
    for version in standards.versions:
        if logged.get(version.id, version.digest) != version.digest:
            yield Mismatch.of("standard_edited", id=version.id)


def _days(conn: sa.Connection, code: str, begin: int, received: ReceivedDays) -> Iterator[Mismatch]:
    for leaf in _leaves(conn, "day", code):
        from_ms, facts = day_ms(leaf.name), _facts(leaf)
        if from_ms < begin:
            continue  # of before what was looked at
        digest = received.get(from_ms, days.DayDigest())
        if (digest.batches, digest.sha256) != (facts.get("batches"), facts.get("sha256")):
            yield Mismatch.of(
                "day_evidence", day=leaf.name, stored=str(digest.batches), digest=digest.sha256[:16],
                n=int(facts.get("batches") or 0), logged=str(facts.get("sha256"))[:16],
            )  # fmt: skip


def _records(conn: sa.Connection, code: str, month_ms: int) -> Iterator[Mismatch]:
    """Records of the month's tests that were logged when they came, and are held no more."""
    until_ms = month_after(month_ms)
    logged = {
        mark: leaf.id
        for leaf in _leaves(conn, "records", code)
        for mark in leaves.marks_in(bytes(leaf.body))
        if month_ms <= leaves.started_of(mark) < until_ms
    }
    d, r = schema.devices.c, schema.records.c
    own = r.device.in_(sa.select(d.device).where(d.center == code)) & r.started_ms.between(month_ms, until_ms - 1)
    for row in conn.execute(sa.select(r.started_ms, r.signature).where(own)):
        logged.pop(leaves.record_mark(row.started_ms, bytes(row.signature)), None)
    for mark, leaf_id in sorted(logged.items()):
        yield Mismatch.of("record_missing", day=days.day_name(leaves.started_of(mark)), leaf=str(leaf_id))


def _reports(conn: sa.Connection, code: str, month_ms: int) -> Iterator[Mismatch]:
    query = sa.select(_r.revision, _r.sha256).where(_r.center == code, _r.from_ms == month_ms)
    held = {row.revision: row.sha256 for row in conn.execute(query.where(_r.closed_ms.is_not(None)))}
    of_month = (
        facts for leaf in _leaves(conn, "report", code) if (facts := _facts(leaf)).get("month") == named(month_ms)
    )
    logged = {int(facts.get("revision") or 0): facts.get("sha256") for facts in of_month}
    for number, sha256 in logged.items():
        if number not in held:
            yield Mismatch.of("report_missing", revision=number)
        elif held[number] != sha256:
            yield Mismatch.of("report_edited", revision=number)
    for number in held.keys() - logged.keys():  # one of before there was a log has no leaf, nor have those before it
        if number > min(logged, default=number):
            yield Mismatch.of("report_edited", revision=number)


def _facts(leaf: Any) -> dict[str, Any]:
    try:
        facts = msgspec.json.decode(bytes(leaf.body))
    except UNREADABLE:
        return {}
    return facts if isinstance(facts, dict) else {}
