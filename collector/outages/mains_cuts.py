"""Cuts of the mains as UPS readings tell of them, kept in the transaction of the reading that moves them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from collector.flags.backup import Charge, Cut, add_charges, charge_of, with_boots
from collector.flags.gap_facts import Boot
from collector.judging.evaluate import CenterLike, FreshReading
from collector.store import schema, upsert

RECHARGE_MS = 48 * 3_600_000  # a battery not full by then has its recharge left unknown

_c, _b = schema.cuts.c, schema.readings["boot"].c

Key = tuple[str, str]  # center, UPS
Began = tuple[str, int]  # center, and when a gap or a cut of it began


@dataclass(frozen=True)
class StoredCut:
    """A cut as stored."""

    revision: int
    open: bool
    cut: Cut


@dataclass(frozen=True)
class News:
    """What a transaction says of one center's power. `oldest_ms` of its readings that are late, if any."""

    charges: Mapping[str, Sequence[Charge]]
    boots: Sequence[Boot]
    oldest_ms: int | None


def record_group(
    conn: sa.Connection, group: Sequence[tuple[CenterLike, Sequence[FreshReading]]], now_ms: int, gap_ms: int
) -> list[Began]:
    """Records what a transaction brings; returns the cuts that are told otherwise than before."""
    news = {center.code: _news(fresh, now_ms - gap_ms) for center, fresh in group}
    relevant = {code: item for code, item in news.items() if item.charges or item.boots}
    if not relevant:
        return []
    held = _load(conn, relevant)
    rows: list[dict[str, Any]] = []
    for code, item in relevant.items():
        mine = {subject: cuts for (owner, subject), cuts in held.items() if owner == code}
        for subject in sorted(mine.keys() | item.charges.keys()):
            before, charges = mine.get(subject, []), item.charges.get(subject, ())
            if before or any(charge.on_battery for charge in charges):
                boots = [*item.boots, *(_boots(conn, code, before, charges) if item.oldest_ms else ())]
                rows += _moved(code, subject, before, add_charges([one.cut for one in before], charges), boots, now_ms)
    upsert(conn, schema.cuts, rows)
    return [(row["center"], row["from_ms"]) for row in rows]


def _news(fresh: Iterable[FreshReading], late_ms: int) -> News:
    charges: dict[str, list[Charge]] = defaultdict(list)
    boots: list[Boot] = []
    oldest_ms: int | None = None
    for reading in fresh:
        if reading.kind == "ups":
            charges[reading.reading.subject].append(charge_of(reading.reading, reading.at_ms, reading.id))
        elif reading.kind == "boot":
            dark_s, end = getattr(reading.reading, "dark_s", None), getattr(reading.reading, "previous_end", "unknown")
            boots.append(Boot(at_ms=reading.at_ms, previous_end=end, dark_s=dark_s, id=reading.id))
        else:
            continue
        if reading.at_ms < late_ms or reading.kind == "boot":
            oldest_ms = min(reading.at_ms, oldest_ms or reading.at_ms)
    return News(charges, boots, oldest_ms)


def _moved(
    code: str, subject: str, before: Sequence[StoredCut], after: Sequence[Cut], boots: Sequence[Boot], now_ms: int
) -> Iterable[dict[str, Any]]:
    known = {one.cut.noted_ms: one for one in before}
    for item in after:
        cut, one = with_boots(item, boots), known.get(item.noted_ms)
        settled = _settled(cut, now_ms)
        if one is None or cut != one.cut or one.open == settled:
            revision = 1 if one is None else one.revision + (not one.open)
            yield _row(code, subject, revision, cut, now_ms, settled=settled)


def _settled(cut: Cut, now_ms: int) -> bool:
    over_ms = cut.to_ms
    return over_ms is not None and (cut.charged_ms is not None or now_ms - over_ms > RECHARGE_MS)


def _load(conn: sa.Connection, news: Mapping[str, News]) -> dict[Key, list[StoredCut]]:
    """The newest revisions of the cuts these news may speak of: those not settled, and those near late readings."""
    held: dict[tuple[str, str, int], StoredCut] = {}
    query = sa.select(_c.center, _c.subject, _c.noted_ms, _c.revision, _c.open, _c.facts)
    going_on = (_c.open == sa.true()) & _c.center.in_(list(news))
    late = {code: entry.oldest_ms for code, entry in news.items() if entry.oldest_ms is not None}
    rows = list(conn.execute(query.where(going_on)))
    if late:
        near = _c.center.in_(list(late)) & (sa.func.coalesce(_c.to_ms, _c.last_ms) >= min(late.values()))
        rows += list(conn.execute(query.where(near)))
    for row in sorted(rows, key=lambda item: item.revision):
        cut = msgspec.json.decode(row.facts, type=Cut)
        held[row.center, row.subject, row.noted_ms] = StoredCut(row.revision, row.open, cut)
    found: dict[Key, list[StoredCut]] = defaultdict(list)
    for (center, subject, _), one in sorted(held.items(), key=lambda item: item[1].cut.from_ms):
        found[center, subject].append(one)
    return found


def _boots(conn: sa.Connection, code: str, before: Sequence[StoredCut], charges: Sequence[Charge]) -> list[Boot]:
    """Boots known from before: a cut may come to be known only after the boot that ended it."""
    from_ms = min([one.cut.from_ms for one in before] + [charge.at_ms for charge in charges])
    query = sa.select(_b.wall_ms, _b.received_ms, _b.previous_end, _b.dark_s, _b.device, _b.spool, _b.seq)
    rows = conn.execute(query.where(_b.center == code, _b.wall_ms >= from_ms))
    return [
        Boot(
            at_ms=min(row.wall_ms, row.received_ms),
            previous_end=row.previous_end,
            dark_s=row.dark_s,
            id=f"{row.device} {row.spool} {row.seq}",
        )
        for row in rows
    ]


def _row(code: str, subject: str, revision: int, cut: Cut, now_ms: int, *, settled: bool) -> dict[str, Any]:
    return {
        "center": code,
        "subject": subject,
        "noted_ms": cut.noted_ms,
        "revision": revision,
        "from_ms": cut.from_ms,
        "last_ms": cut.last_ms,
        "to_ms": cut.to_ms,
        "carried": cut.carried,
        "facts": msgspec.json.encode(cut).decode(),
        "recorded_ms": now_ms,
        "open": not settled,
    }


def cuts_of(conn: sa.Connection, code: str, from_ms: int = 0, to_ms: int = 2**53) -> dict[str, list[Cut]]:
    """The cuts of each UPS of a center that began in this time, oldest first, as the newest evidence has them."""
    query = sa.select(_c.subject, _c.noted_ms, _c.facts).where(
        _c.center == code, _c.from_ms >= from_ms, _c.from_ms < to_ms
    )
    newest = {(row.subject, row.noted_ms): row.facts for row in conn.execute(query.order_by(_c.revision))}
    found: dict[str, list[Cut]] = defaultdict(list)
    for (subject, _), facts in newest.items():
        found[subject].append(msgspec.json.decode(facts, type=Cut))
    return {subject: sorted(some, key=lambda cut: cut.from_ms) for subject, some in sorted(found.items())}
