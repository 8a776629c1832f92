"""A month that was reported already and is changed by what comes later: its next revision, opened in the transaction
that brings the change.

Live readings cost one comparison each: only what is older than the youngest closed month is looked up. Making the
report is not ingest's work (collector.reports.schedule): the row says that it is due, and why.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from agent.common.center_time import TZ
from collector.judging.evaluate import CenterLike, FreshReading
from collector.register.dated import today_ms
from collector.reports.day_store import AROUND_MS, DAY_MS, mark
from collector.store import schema, upsert
from collector.store.journal import journaled

CLOSE_MS = 5 * 86_400_000  # a month is reported so long after its end; no official figure exists
SETTLE_MS = 600_000  # what comes late comes in many batches: a revision is made when they have stopped
FOR_EVER_MS = 2**53
LONGEST_MS = 35 * 86_400_000  # for so long a gap or a cut may have gone on, as far as day sheets are concerned
LOOK_BACK = ("boot", "shed")  # kinds of readings that speak of time before their own

_r = schema.reports.c
Key = tuple[str, int]  # center, and when the month begins


class Why(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came after a month was reported: late readings (how many, taken from when to when, by which gateways),
    records of measurement servers, gaps and cuts that were put right, facts of the center that hold from a day of it,
    entries of the calendar, disputes that were decided, inspections. Nothing of it: the month was over."""

    readings: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    devices: tuple[str, ...] = ()
    records: int = 0
    outages: int = 0
    facts: int = 0
    calendar: int = 0
    disputes: int = 0
    inspections: int = 0

    def __or__(self, other: Why) -> Why:
        firsts = [item for item in (self.first_ms, other.first_ms) if item is not None]
        lasts = [item for item in (self.last_ms, other.last_ms) if item is not None]
        return Why(
            readings=self.readings + other.readings,
            first_ms=min(firsts, default=None),
            last_ms=max(lasts, default=None),
            devices=tuple(sorted({*self.devices, *other.devices})),
            records=self.records + other.records,
            outages=self.outages + other.outages,
            facts=self.facts + other.facts,
            calendar=self.calendar + other.calendar,
            disputes=self.disputes + other.disputes,
            inspections=self.inspections + other.inspections,
        )


@dataclass(frozen=True)
class Revision:
    """One row. `closed_ms` is None while it is being made; `changed` is what `differences` found."""

    number: int
    opened_ms: int
    closed_ms: int | None
    why: Why
    changed: Mapping[str, Any]
    sha256: str


# ---------------------------------------------------------------- months


def month_of(at_ms: int) -> int:
    """When the month of that time began in Pakistan."""
    at = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(TZ))
    return int(datetime(at.year, at.month, 1, tzinfo=ZoneInfo(TZ)).timestamp()) * 1000


def month_after(from_ms: int) -> int:
    """When the month after the one that begins then begins."""
    return month_of(from_ms + 32 * 86_400_000)


def named(from_ms: int) -> str:
    """ "2026-01"."""
    return datetime.fromtimestamp(from_ms / 1000, ZoneInfo(TZ)).strftime("%Y-%m")


@lru_cache(1024)
def months_within(from_ms: int, to_ms: int) -> tuple[int, ...]:
    """Every month that a time touches."""
    months = [month_of(max(0, from_ms))]
    while (after := month_after(months[-1])) <= to_ms:
        months.append(after)
    return tuple(months)


# ---------------------------------------------------------------- what comes late opens a revision


def record_group(conn: sa.Connection, group: Sequence[tuple[CenterLike, Sequence[FreshReading]]], now_ms: int) -> None:
    """Notes the readings of a transaction that speak of months reported already."""
    late_ms, made_ms = now_ms - CLOSE_MS + AROUND_MS, _made_until(now_ms)
    causes: dict[Key, Why] = defaultdict(Why)
    days: set[tuple[str, int, int]] = set()
    for center, fresh in group:
        times: dict[tuple[int, str], list[int]] = defaultdict(list)
        for reading in fresh:
            if (from_ms := _from_ms(reading)) - AROUND_MS < made_ms:
                days.add((center.code, today_ms(from_ms - AROUND_MS), today_ms(reading.wall_ms + AROUND_MS)))
            if from_ms < late_ms:
                for month in _months(from_ms, reading.wall_ms):
                    times[month, reading.id.partition(" ")[0]].append(reading.wall_ms)
        for (month, device), own in times.items():
            one = Why(readings=len(own), first_ms=min(own), last_ms=max(own), devices=(device,))
            causes[center.code, month] |= one
    mark(conn, days)
    reopen(conn, causes, now_ms)


def _made_until(now_ms: int) -> int:
    """Days that begin before this may have their sheets; yesterday has none yet in the first hour of a day."""
    today = today_ms(now_ms)
    return today if now_ms >= today + AROUND_MS else today - DAY_MS


def _from_ms(fresh: FreshReading) -> int:
    """A boot speaks of all the time since the last sign of life before it, an account of lost readings of theirs."""
    if fresh.kind not in LOOK_BACK:
        return fresh.wall_ms
    alive_ms: int | None = getattr(fresh.reading, "last_alive_ms", None)
    spans: Sequence[tuple[int, int]] = getattr(fresh.reading, "spans", ())
    return min([fresh.wall_ms, *([] if alive_ms is None else [alive_ms]), *(start for start, _ in spans)])


def _months(from_ms: int, to_ms: int) -> tuple[int, ...]:
    first, last = from_ms // AROUND_MS - 1, to_ms // AROUND_MS + 2
    return months_within(first * AROUND_MS, last * AROUND_MS)


def record_server_results(conn: sa.Connection, moments: Iterable[tuple[str, int]], now_ms: int) -> None:
    """A server's record came that speaks of a center's reading of that time."""
    moments = list(moments)
    mark(conn, ((code, at_ms, at_ms) for code, at_ms in moments))
    one = Why(records=1)
    _note(conn, ((code, month_of(at_ms), one) for code, at_ms in moments if at_ms < now_ms - CLOSE_MS), now_ms)


def record_moves(conn: sa.Connection, moves: Iterable[tuple[int, str]], now_ms: int) -> None:
    """A boot's clock has become known better: readings went from one of these times to another."""
    moves = list(moves)
    mark(conn, {(code, today_ms(at_ms - AROUND_MS), today_ms(at_ms + AROUND_MS)) for at_ms, code in moves})
    one = Why(readings=1)
    _note(conn, ((code, month_of(at_ms), one) for at_ms, code in moves if at_ms < now_ms - CLOSE_MS), now_ms)


def record_outages(conn: sa.Connection, moments: Iterable[tuple[str, int]], now_ms: int) -> None:
    """A center's gap or cut that began then is told of otherwise than before. Trends of batteries look back, so every
    later month may say otherwise too; those that do not are not revised."""
    moments = list(moments)
    mark(conn, ((code, at_ms, at_ms + LONGEST_MS) for code, at_ms in moments))
    one = Why(outages=1)
    last_ms = now_ms - CLOSE_MS
    _note(conn, ((code, month, one) for code, at_ms in moments for month in months_within(at_ms, last_ms)), now_ms)


def record_facts(conn: sa.Connection, codes: Iterable[str], from_ms: int, now_ms: int) -> None:
    """Somebody recorded what these centers were from that time on."""
    codes = list(codes)
    mark(conn, ((code, from_ms, now_ms) for code in codes))
    one, last_ms = Why(facts=1), now_ms - CLOSE_MS
    months = months_within(from_ms, last_ms) if from_ms < last_ms else ()
    _note(conn, ((code, month, one) for code in codes for month in months), now_ms)


def record_calendar(conn: sa.Connection, codes: Iterable[str], from_ms: int, to_ms: int | None, now_ms: int) -> None:
    """Somebody recorded what the calendar said of these centers then, or took it back."""
    codes = list(codes)
    mark(conn, ((code, from_ms, now_ms if to_ms is None else min(to_ms, now_ms)) for code in codes))
    one, last_ms = Why(calendar=1), min(now_ms - CLOSE_MS, FOR_EVER_MS if to_ms is None else to_ms - 1)
    months = months_within(from_ms, last_ms) if from_ms < last_ms else ()
    _note(conn, ((code, month, one) for code in codes for month in months), now_ms)


def record_dispute(conn: sa.Connection, code: str, month_ms: int, now_ms: int) -> None:
    """A dispute about the month that begins then was decided."""
    _note(conn, [(code, month_ms, Why(disputes=1))], now_ms)


def record_inspection(conn: sa.Connection, code: str, at_ms: int, now_ms: int) -> None:
    """An inspector was there then."""
    _note(conn, [(code, month_of(at_ms), Why(inspections=1))], now_ms)


def _note(conn: sa.Connection, touched: Iterable[tuple[str, int, Why]], now_ms: int) -> None:
    causes: dict[Key, Why] = defaultdict(Why)
    for code, month, one in touched:
        causes[code, month] |= one
    reopen(conn, causes, now_ms)


def reopen(conn: sa.Connection, causes: Mapping[Key, Why], now_ms: int) -> None:
    """Opens the next revision of those of these months that are closed, and tells more of those that are open. A month
    that has not been reported is left alone: its first report will know."""
    if not causes:
        return
    query = sa.select(_r.center, _r.from_ms, _r.revision, _r.opened_ms, _r.closed_ms, _r.why, _r.marks)
    mine = query.where(_r.center.in_({code for code, _ in causes}), _r.from_ms.in_({month for _, month in causes}))
    newest = {(row.center, row.from_ms): row for row in conn.execute(mine.order_by(_r.revision))}
    rows = []
    for key, why in causes.items():
        if (held := newest.get(key)) is not None:
            goes_on = held.closed_ms is None
            rows.append(
                {
                    "center": held.center,
                    "from_ms": held.from_ms,
                    "revision": held.revision + (not goes_on),
                    "opened_ms": held.opened_ms if goes_on else now_ms,
                    "why": text_of(_decoded(held.why) | why if goes_on and held.revision > 1 else why),
                    "marks": held.marks + 1,
                    "look_ms": now_ms + SETTLE_MS,
                }
            )
    upsert(conn, schema.reports, rows)


def text_of(why: Why) -> str:
    return msgspec.json.encode(why).decode()


def _decoded(why: str) -> Why:
    return msgspec.json.decode(why, type=Why)


# ---------------------------------------------------------------- what is held of a month


def revisions_of(conn: sa.Connection, code: str, from_ms: int) -> list[Revision]:
    """All revisions of a center's month, oldest first, without their reports."""
    query = sa.select(_r.revision, _r.opened_ms, _r.closed_ms, _r.why, _r.changed, _r.sha256)
    rows = conn.execute(query.where(_r.center == code, _r.from_ms == from_ms).order_by(_r.revision))
    return [_revision(row) for row in rows]


def newest_of(conn: sa.Connection, code: str, limit: int) -> list[tuple[str, Revision]]:
    """The last months that a center was reported for, newest first, each with its newest revision."""
    n = schema.reports.alias()
    last = sa.select(sa.func.max(n.c.revision)).where(n.c.center == _r.center, n.c.from_ms == _r.from_ms)
    query = sa.select(_r.from_ms, _r.revision, _r.opened_ms, _r.closed_ms, _r.why, _r.changed, _r.sha256)
    mine = query.where(_r.center == code, _r.revision == last.scalar_subquery())
    return [(named(row.from_ms), _revision(row)) for row in conn.execute(mine.order_by(_r.from_ms.desc()).limit(limit))]


def _revision(row: Any) -> Revision:
    changed = msgspec.json.decode(row.changed)
    return Revision(row.revision, row.opened_ms, row.closed_ms, _decoded(row.why), changed, row.sha256)


def give(
    conn: sa.Connection, code: str, from_ms: int, number: int, person: str, now_ms: int, *, given_by: str = ""
) -> None:
    """Records who was given a revision: by somebody as a file, or by the pages to whoever fetched it there."""
    row = {
        "center": code, "from_ms": from_ms, "revision": number, "person": person[:128],
        "means": "file" if given_by else "page", "given_by": given_by, "at_ms": now_ms,
    }  # fmt: skip
    key = tuple(row[column.name] for column in schema.report_recipients.primary_key)
    mine = [column == value for column, value in zip(schema.report_recipients.primary_key, key, strict=True)]
    is_new = conn.execute(sa.select(sa.literal(1)).select_from(schema.report_recipients).where(*mine)).first() is None
    upsert(conn, schema.report_recipients, [row])
    if is_new:  # that it was fetched again says nothing more
        journaled(conn, schema.report_recipients, *key)


def recipients_of(conn: sa.Connection, code: str, from_ms: int | None = None) -> list[dict[str, Any]]:
    """Who was given which revision of a month, or of all months; the last ones last."""
    g = schema.report_recipients.c
    query = sa.select(g.from_ms, g.revision, g.person, g.means, g.given_by, g.at_ms).where(g.center == code)
    mine = query if from_ms is None else query.where(g.from_ms == from_ms)
    return [dict(row) for row in conn.execute(mine.order_by(g.at_ms, g.person)).mappings()]


def given_by_month(conn: sa.Connection, code: str) -> dict[str, list[dict[str, Any]]]:
    """`recipients_of` by the names of the months."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in recipients_of(conn, code):
        found[named(row["from_ms"])].append(row)
    return found


def report_of(conn: sa.Connection, code: str, from_ms: int, number: int) -> dict[str, Any]:
    """The report of a closed revision, as it was made."""
    query = sa.select(_r.body).where(_r.center == code, _r.from_ms == from_ms, _r.revision == number)
    return unpacked(conn.execute(query).scalar_one())


def packed(report: Mapping[str, Any]) -> bytes:
    return zlib.compress(msgspec.json.encode(report))


def unpacked(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(zlib.decompress(body))
    return found


# ---------------------------------------------------------------- what it changes

SHOWN = ("verdict", "samples", "met_pct", "median", "coverage_pct")
# Where formats differ in the form of reasons and in their buckets: what a report of one format cannot be asked to tell
# as another does.
_FORM = frozenset({"format", "reason", "reasons", "not_counted", "names", "evidence", "ledger"})


_ADDING = 4  # formats since then only add parts


def _same_form(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    one, other = int(old.get("format", 1)), int(new.get("format", 1))
    return one == other or min(one, other) >= _ADDING


def _without_format(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in report.items() if name != "format"}


def comparable(value: Any) -> Any:
    """A report, or a part of one, without what its format alone makes different."""
    if isinstance(value, Mapping):
        return {name: comparable(part) for name, part in value.items() if name not in _FORM}
    return [comparable(part) for part in value] if isinstance(value, list | tuple) else value


def of_one_form(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Any, Any]:
    """Both reports so that they can be compared: as they are, or as far as the older format goes."""
    if old.get("format") == new.get("format"):
        return old, new
    if _same_form(old, new):
        return _without_format(old), _as_far(_without_format(old), new)
    return comparable(old), _as_far(comparable(old), comparable(new))


def _as_far(old: Any, new: Any) -> Any:
    """What `new` says of what `old` speaks of."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {name: _as_far(part, new.get(name)) for name, part in old.items()}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [_as_far(one, other) for one, other in zip(old, new, strict=True)]
    return new


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Pure. The criteria and the minutes of the ledger that two reports tell otherwise, old and new side by side."""
    before, after = (_by_row(report) for report in of_one_form(old, new))
    named = _by_row(old) | _by_row(new)
    criteria = [
        {
            **{name: named[key][name] for name in _NAMES if name in named[key]},
            "was": _shown(before.get(key)),
            "now": _shown(after.get(key)),
        }
        for key in [*before, *(key for key in after if key not in before)]
        if before.get(key) != after.get(key)
    ]
    minutes = {
        name: {"was": old["ledger"][name], "now": count}
        for name, count in new["ledger"].items()
        if _same_form(old, new) and old["ledger"][name] != count
    }
    return {"criteria": criteria, "minutes": minutes}


_NAMES = ("criterion", "subject", "name", "name_ur", "names")


def _by_row(report: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(row["criterion"], row["subject"]): row for row in report["criteria"]}


def _shown(row: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: None if row is None else row[name] for name in SHOWN}
