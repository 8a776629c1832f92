"""What comes late makes days and closed months anew: a day's sheet is marked, and a month that was reported gets its
next revision, in the transaction that brings the change.

Live readings cost one comparison each: only what is older than the youngest closed month is looked up. Making sheets
and reports is not ingest's work (collector.reports.schedule): the row says that it is due, and why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from agent import wire
from collector.common.months import month_of, months_within
from collector.judging.evaluate import CenterLike, FreshReading
from collector.register.dated import today_ms
from collector.store import schema, upsert

CLOSE_MS = 5 * 86_400_000  # a month is reported so long after its end; no official figure exists
SETTLE_MS = 600_000  # what comes late comes in many batches: a revision is made when they have stopped
FOR_EVER_MS = 2**53
LONGEST_MS = 35 * 86_400_000  # for so long a gap or a cut may have gone on, as far as day sheets are concerned
AROUND_MS = 3_600_000  # so far readings speak for their neighbours
DAY_MS = 86_400_000
LOOKING_BACK = frozenset(  # kinds that speak of time before their own
    name for name, kind in wire.KINDS.items() if {"last_alive_ms", "spans"} & {*kind.struct.__struct_fields__}
)

_d = schema.day_sheets.c
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
    if fresh.kind not in LOOKING_BACK:
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
                    "why": text_of(why_of(held.why) | why if goes_on and held.revision > 1 else why),
                    "marks": held.marks + 1,
                    "look_ms": now_ms + SETTLE_MS,
                }
            )
    upsert(conn, schema.reports, rows)


def text_of(why: Why) -> str:
    return msgspec.json.encode(why).decode()


def why_of(why: str) -> Why:
    return msgspec.json.decode(why, type=Why)


def mark(conn: sa.Connection, touched: Iterable[tuple[str, int, int]]) -> None:
    """Something came that speaks of these centers between these times (ends included): their sheets are made again."""
    spans: dict[tuple[int, int], set[str]] = defaultdict(set)
    for code, from_ms, to_ms in touched:
        spans[today_ms(max(0, from_ms)), today_ms(max(0, to_ms))].add(code)
    for (first_ms, last_ms), codes in spans.items():
        mine = _d.center.in_(sorted(codes)) & _d.day_ms.between(first_ms, last_ms)
        conn.execute(sa.update(schema.day_sheets).where(mine).values(marks=_d.marks + 1, made_ms=None))
