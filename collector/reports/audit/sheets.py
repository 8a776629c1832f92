"""Kept day sheets and the closed report beside those that the readings give: the first day and part that differs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from agent.common.reasons import UNREADABLE
from collector.register.dated import day_of
from collector.reports import day_store, revisions, schedule
from collector.reports.audit.mismatch import Mismatch
from collector.reports.day_sheets import DaySheet, stored_sheet
from collector.store import schema

Row = Mapping[str, Any]

_d, _r = schema.day_sheets.c, schema.reports.c


def compare(conn: sa.Connection, code: str, anew: Sequence[DaySheet]) -> Iterator[Mismatch]:
    """Sheets that are due, or of another format, are made anew anyway; days before there were sheets have none."""
    until_ms = int(
        conn.scalar(sa.select(schema.about.c.value).where(schema.about.c.name == day_store.SHEETS_UNTIL)) or 0
    )
    mine = _d.center == code
    begun_ms = conn.scalar(sa.select(sa.func.min(_d.day_ms)))
    rows = {row.day_ms: row for row in conn.execute(sa.select(_d.day_ms, _d.made_ms, _d.body).where(mine))}
    for sheet in anew:
        row = rows.get(sheet.from_ms)
        if row is None and begun_ms is not None and begun_ms <= sheet.from_ms < until_ms and not _is_before(sheet):
            yield Mismatch.of("sheet_missing", day=day_of(sheet.from_ms))
        if row is not None and row.made_ms is not None and row.body is not None:
            yield from _differing(bytes(row.body), sheet)


def _is_before(sheet: DaySheet) -> bool:
    """A day that was over before the first gateway was enrolled has no sheet."""
    return sheet.before > 0 and sum(sheet.minutes.values()) == 0


def _differing(body: bytes, sheet: DaySheet) -> Iterator[Mismatch]:
    """The first part of it; of the minutes the bucket."""
    day = day_of(sheet.from_ms)
    try:
        kept = stored_sheet(body)
    except zlib.error:
        yield Mismatch.of("sheet_differs", day=day, part="body", kept="-", found="-")
        return
    if kept is None or (kept.from_ms == sheet.from_ms and kept.to_ms != sheet.to_ms):  # of a day that was not over
        return
    old, new = msgspec.to_builtins(kept), msgspec.to_builtins(sheet)
    if old["standards"] != new["standards"]:
        return  # made by another version of the standard: it is made anew, never read
    for path, held, value in unlike(old, new):
        yield Mismatch.of("sheet_differs", day=day, part=path, kept=held, found=value)
        return


def unlike(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Pure. Where two plain values differ, depth first: (path, old, new), the values cut short."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from unlike(old.get(name), new.get(name), f"{path}.{name}" if path else str(name))
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from unlike(one, other, f"{path}[{i}]")
    elif old != new:
        yield path, _short(old), _short(new)


def _short(value: Any) -> str:
    return "-" if value is None else msgspec.json.encode(value).decode()[:80]


# ---------------------------------------------------------------- the closed report


def closed(conn: sa.Connection, code: str, from_ms: int) -> Iterator[Mismatch]:
    """Reports that are no longer the bytes that were closed, and revisions that lack."""
    query = sa.select(_r.revision, _r.closed_ms, _r.sha256, _r.body).where(_r.center == code, _r.from_ms == from_ms)
    rows = conn.execute(query.order_by(_r.revision)).all()
    numbers = [row.revision for row in rows]
    for number in range(1, max(numbers, default=0)):
        if number not in numbers:
            yield Mismatch.of("report_missing", revision=number)
    for row in rows:
        if row.closed_ms is not None and digest_of(row.body) != row.sha256:
            yield Mismatch.of("report_edited", revision=row.revision)


def digest_of(body: bytes | None) -> str:
    """As `schedule.sha256_of` has it, of a body that may be no report; empty then."""
    try:
        report = revisions.unpacked(bytes(body or b""))
    except (zlib.error, *UNREADABLE):
        return ""
    return schedule.sha256_of(report) if isinstance(report, dict) else ""


def report(kept: Row, anew: Row) -> Iterator[Mismatch]:
    """The closed report beside the one that the readings give."""
    dropped = [one for one in anew.get("exclusions", ()) if one not in kept.get("exclusions", ())]
    for one in dropped:
        moment = str(one["from_ms"])
        yield Mismatch.of("exclusion_dropped", exclusion=one["code"], evidence=list(one["evidence"]), begin=moment)
    for name in schedule.differing(kept, anew):
        path, held, value = next(unlike(kept.get(name), anew.get(name), name), (name, "-", "-"))
        yield Mismatch.of("report_differs", part=path, kept=held, found=value)
