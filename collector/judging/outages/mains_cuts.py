"""Cuts of the mains, as a function of the UPS readings that are held, in whatever order they came.

Readings that follow all that is held of their UPS are added to the cut that goes on or recharges. For any other, the
time that they touch is computed again from the readings themselves, in their own transaction: from the last reading on
mains before it to the first one after it.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from collector.judging.evaluate import CenterLike, FreshReading, newest
from collector.judging.flags.backup import (
    FULL_PCT,
    RECHARGE_MS,
    Charge,
    Cut,
    charge_of,
    cuts_in,
    is_full,
    told_on_battery_ms,
    with_boots,
    with_charge,
)
from collector.judging.flags.gap_facts import Boot
from collector.store import schema, upsert, warm

PAGE = 100  # readings looked at in one go for the edge of a cut
DARK_MS = 60 * 86_400_000  # a machine that was down for longer tells nothing of a cut before

_c, _b, _u, _l = schema.cuts.c, schema.readings["boot"].c, schema.readings["ups"].c, schema.latest.c

GAVE_OUT = "evidence.gave_out"

Key = tuple[str, str]  # center, UPS
Span = tuple[int, int]  # from, to, both within
Began = tuple[str, int]  # center, and when a gap or a cut of it began


@dataclass(frozen=True)
class StoredCut:
    """A cut as stored."""

    revision: int
    open: bool
    cut: Cut


@dataclass(frozen=True)
class News:
    """What a transaction says of one center's power."""

    charges: Mapping[str, Sequence[Charge]]
    boots: Sequence[Boot]

    @property
    def times(self) -> list[int]:
        return [charge.at_ms for some in self.charges.values() for charge in some] + [item.at_ms for item in self.boots]


@dataclass(frozen=True)
class Reach:
    """What is held of one UPS: its stored cuts by their beginning, and this transaction's own readings."""

    conn: sa.Connection
    center: str
    subject: str
    stored: Mapping[int, StoredCut]
    fresh: Sequence[Charge]
    boots: Sequence[Boot]


def record_group(
    conn: sa.Connection, group: Sequence[tuple[CenterLike, Sequence[FreshReading]]], now_ms: int
) -> list[Began]:
    """Records what a transaction brings, before its readings are written; returns the cuts that are told otherwise
    than before."""
    news = {center.code: _news(fresh) for center, fresh in group}
    news = {code: item for code, item in news.items() if item.charges or item.boots}
    held = _load(conn, news)
    moved: list[Began] = []
    for code, item in news.items():
        known = {subject for owner, subject in held if owner == code}
        for subject in sorted(known | item.charges.keys()):
            charges = sorted(item.charges.get(subject, ()), key=lambda one: one.at_ms)
            stored = held.get((code, subject), {})
            if stored or any(charge.on_battery for charge in charges):
                moved += _record(Reach(conn, code, subject, stored, charges, item.boots), now_ms)
    return moved


def recompute(conn: sa.Connection, spans: Mapping[str, Span], now_ms: int) -> list[Began]:
    """Computes the cuts of these centers in these times again, from what is written."""
    moved: list[Began] = []
    for code, span in sorted(spans.items()):
        near = (_u.center == code) & _u.wall_ms.between(*span)
        subjects = set(conn.scalars(sa.select(_u.subject).where(near).distinct()))
        overlaps = (_c.center == code) & (_c.from_ms <= span[1]) & (sa.func.coalesce(_c.to_ms, _c.last_ms) >= span[0])
        subjects |= set(conn.scalars(sa.select(_c.subject).where(overlaps).distinct()))
        for subject in sorted(subjects):
            stored = _all_stored(conn, code, subject)
            moved += _again(Reach(conn, code, subject, stored, (), ()), span, now_ms)
    return moved


def _news(fresh: Iterable[FreshReading]) -> News:
    charges: dict[str, list[Charge]] = defaultdict(list)
    boots: list[Boot] = []
    for reading in fresh:
        if reading.kind == "ups":
            charge = charge_of(reading.reading, reading.at_ms, reading.id)
            if charge.on_battery is not None:
                charges[reading.reading.subject].append(charge)
        elif reading.kind == "boot":
            dark_s, end = getattr(reading.reading, "dark_s", None), getattr(reading.reading, "previous_end", "unknown")
            boots.append(Boot(at_ms=reading.at_ms, previous_end=end, dark_s=dark_s, id=reading.id))
    return News(charges, boots)


# ---------------------------------------------------------------- what follows, and what comes late


def _record(reach: Reach, now_ms: int) -> list[Began]:
    """Only readings that end, prolong or recharge the newest cut, and follow all that is held, are added to it."""
    newest = max(reach.stored.values(), key=lambda one: one.cut.from_ms, default=None)
    charges = reach.fresh
    if newest is not None and not reach.boots and charges and _follows(reach, newest.cut):
        cut = newest.cut
        for charge in charges:
            if cut.to_ms is not None and charge.on_battery:
                break
            cut = with_charge(cut, charge)
        else:
            return _save(reach, {cut.from_ms: cut}, (), now_ms)
    times = [charge.at_ms for charge in charges] + [boot.at_ms for boot in reach.boots]
    if not times:
        return []
    return _again(replace(reach, stored=_all_stored(reach.conn, reach.center, reach.subject)), _hull(times), now_ms)


def _follows(reach: Reach, cut: Cut) -> bool:
    """Whether these readings are newer than every one that is held of this UPS. Where the machine behind it went down,
    what comes next may say that it did not."""
    first = reach.fresh[0]
    if first.at_ms <= max(cut.last_ms, cut.to_ms or 0) or (cut.died_ms is not None and cut.to_ms is None):
        return False
    later = (_u.center == reach.center) & (_u.subject == reach.subject) & (_u.wall_ms >= first.at_ms)
    return reach.conn.execute(sa.select(_u.seq).where(later).limit(1)).first() is None


def _hull(times: Sequence[int]) -> Span:
    return min(times), max(times)


def _again(reach: Reach, span: Span, now_ms: int) -> list[Began]:
    """Stores the cuts that the readings of a time, with those around them, tell otherwise than is stored."""
    charges = _whole(reach, _with_deaths(reach, span))
    if not charges:
        return []
    # What was told of readings that have moved away lies within the time that was touched, and beyond those of now.
    from_ms, to_ms = min(charges[0].at_ms, span[0]), max(charges[-1].at_ms, span[1])
    old = [began_ms for began_ms, one in reach.stored.items() if from_ms <= one.cut.last_ms <= to_ms]
    before = max((one.cut for one in reach.stored.values() if one.cut.last_ms < from_ms), key=_from_ms, default=None)
    cuts = [*([] if before is None else [_alive(before)]), *cuts_in(charges)]
    begins = sorted({cut.from_ms for cut in cuts} | (reach.stored.keys() - set(old)))
    boots = _boots(reach, cuts)
    now = {cut.from_ms: with_boots(_charged(reach, cut, begins), boots) for cut in cuts}
    return _save(reach, now, [began_ms for began_ms in old if began_ms not in now], now_ms)


def _alive(cut: Cut) -> Cut:
    """The cut without what boots said of it."""
    return replace(cut, died_ms=None, evidence=tuple(item for item in cut.evidence if item.code != GAVE_OUT))


def _from_ms(cut: Cut) -> int:
    return cut.from_ms


def _with_deaths(reach: Reach, span: Span) -> Span:
    """A boot speaks of the time since the last sign of life before it."""
    deaths = [boot.died_ms for boot in reach.boots if boot.died_ms is not None and boot.at_ms - boot.died_ms < DARK_MS]
    return min([span[0], *deaths]), span[1]


def _whole(reach: Reach, span: Span) -> list[Charge]:
    """The readings of a time, from one on mains before it to one on mains after it, as far as there are such."""
    first_ms = span[0] - max((told_on_battery_ms(charge) for charge in reach.fresh), default=0)
    charges = _held(reach, _u.wall_ms.between(first_ms, span[1]))
    mine = {charge.id: charge for charge in (*charges, *reach.fresh)}
    for beyond in (_older(reach, first_ms), _newer(reach, span[1])):
        mine |= {charge.id: charge for charge in beyond}
    return sorted(mine.values(), key=lambda charge: (charge.at_ms, charge.id))


def _older(reach: Reach, from_ms: int) -> Iterator[Charge]:
    """Back to the first moment on mains, which is one of them."""
    return _until_mains(reach, from_ms, lambda wall_ms: _u.wall_ms < wall_ms, _u.wall_ms.desc())


def _newer(reach: Reach, to_ms: int) -> Iterator[Charge]:
    return _until_mains(reach, to_ms, lambda wall_ms: _u.wall_ms > wall_ms, _u.wall_ms)


def _until_mains(
    reach: Reach, wall_ms: int, beyond: Callable[[int], sa.ColumnElement[bool]], order: Any
) -> Iterator[Charge]:
    """Pages follow the gateway's times: a clock that is ahead has them beyond the time at which a reading counts. Of
    one moment there may be several readings, as those of a boot that never synchronised come together at its end: one
    on mains then ends nothing while another is on battery."""
    while rows := _rows(reach, beyond(wall_ms), order):
        moments = [list(some) for _, some in itertools.groupby(rows, key=lambda row: row.wall_ms)]
        if len(rows) == PAGE and len(moments) > 1:
            del moments[-1]  # perhaps not whole
        for moment in moments:
            charges = [_charge(row) for row in moment]
            yield from charges
            states = {charge.on_battery for charge in charges}
            if False in states and True not in states:
                return
        wall_ms = moments[-1][-1].wall_ms


_ASKED = (
    "output_state", "self_test", "source", "on_battery_s", "battery_charge_pct", "runtime_s", "load_pct",
    "wall_ms", "received_ms", "device", "spool", "seq",
)  # fmt: skip


def _held(reach: Reach, when: sa.ColumnElement[bool]) -> list[Charge]:
    """Readings that are written and tell whether it was on battery."""
    return [_charge(row) for row in _rows(reach, when)]


def _rows(reach: Reach, when: sa.ColumnElement[bool], order: Any = None) -> Sequence[sa.Row[Any]]:
    """All of them; one page of them with an order."""
    mine = (_u.center == reach.center) & (_u.subject == reach.subject) & when
    query = sa.select(*(_u[name] for name in _ASKED)).where(mine)
    return reach.conn.execute(query if order is None else query.order_by(order).limit(PAGE)).all()


def _charge(row: sa.Row[Any]) -> Charge:
    return charge_of(row, min(row.wall_ms, row.received_ms), f"{row.device} {row.spool} {row.seq}")


def _charged(reach: Reach, cut: Cut, begins: Sequence[int]) -> Cut:
    """With when its battery was full again: by the first reading on mains after it that says so. A battery that was
    called upon again before that was never full after this cut."""
    if cut.to_ms is None:
        return cut
    next_ms = next((began_ms for began_ms in begins if began_ms > cut.from_ms), cut.to_ms + RECHARGE_MS)
    end_ms = min(cut.to_ms + RECHARGE_MS, next_ms)
    within = (_u.center == reach.center) & (_u.subject == reach.subject) & _u.wall_ms.between(cut.to_ms, end_ms)
    full = sa.or_(_u.battery_charge_pct.is_(None), _u.battery_charge_pct >= FULL_PCT) & (_u.output_state != "battery")
    row = reach.conn.execute(
        sa.select(_u.wall_ms, _u.received_ms).where(within, full).order_by(_u.wall_ms).limit(1)
    ).first()
    times = [min(row.wall_ms, row.received_ms)] if row else []
    times += [
        charge.at_ms
        for charge in reach.fresh
        if charge.on_battery is False and is_full(charge) and cut.to_ms <= charge.at_ms <= end_ms
    ]
    return replace(cut, charged_ms=min(times, default=None))


def _boots(reach: Reach, cuts: Sequence[Cut]) -> list[Boot]:
    """Boots that may have ended one of these cuts for the machine behind the UPS."""
    if not cuts:
        return []
    last_ms = max(cut.to_ms if cut.to_ms is not None else cut.last_ms + DARK_MS for cut in cuts) + DARK_MS
    query = sa.select(_b.wall_ms, _b.received_ms, _b.previous_end, _b.dark_s, _b.device, _b.spool, _b.seq)
    mine = (_b.center == reach.center) & _b.wall_ms.between(cuts[0].from_ms, last_ms)
    boots = [
        Boot(
            at_ms=min(row.wall_ms, row.received_ms),
            previous_end=row.previous_end,
            dark_s=row.dark_s,
            id=f"{row.device} {row.spool} {row.seq}",
        )
        for row in reach.conn.execute(query.where(mine))
    ]
    return sorted({boot.id: boot for boot in (*boots, *reach.boots)}.values(), key=lambda boot: (boot.at_ms, boot.id))


# ---------------------------------------------------------------- reading and writing


def _save(reach: Reach, cuts: Mapping[int, Cut], gone: Sequence[int], now_ms: int) -> list[Began]:
    """Writes the cuts that are new or told otherwise; one that was settled gets its next revision. Those `gone` are
    told as parts of others now. Returns what changed."""
    rows: list[dict[str, Any]] = []
    last_ms = max([*cuts, *(reach.stored.keys() - set(gone))], default=0)  # what another cut followed is settled
    for began_ms, cut in cuts.items():
        one, settled = reach.stored.get(began_ms), began_ms < last_ms or _settled(cut, now_ms)
        if one is None or cut != one.cut or one.open == settled:
            revision = 1 if one is None else one.revision + (not one.open)
            rows.append(_row(reach, revision, cut, now_ms, settled=settled))
    upsert(reach.conn, schema.cuts, rows)
    if gone:
        mine = (_c.center == reach.center) & (_c.subject == reach.subject)
        merged = sa.delete(schema.cuts).where(mine, _c.noted_ms.in_(gone))
        reach.conn.execute(merged, execution_options={warm.CENTERS: [reach.center]})
    return [(reach.center, began_ms) for began_ms in [row["from_ms"] for row in rows] + list(gone)]


def _settled(cut: Cut, now_ms: int) -> bool:
    over_ms = cut.to_ms
    return over_ms is not None and (cut.charged_ms is not None or now_ms - over_ms > RECHARGE_MS)


_STORED = sa.select(_c.center, _c.subject, _c.noted_ms, _c.revision, _c.open, _c.facts)


def _load(conn: sa.Connection, news: Mapping[str, News]) -> dict[Key, dict[int, StoredCut]]:
    """The cuts these news may speak of: those not settled, and, for boots and for readings that newer ones of the
    center's UPS have come before, those near them."""
    if not news:
        return {}
    oldest = {code: min(item.times) for code, item in news.items()}
    overtaken = {
        code
        for code, times in newest(conn, news).items()
        if any(kind == "ups" and wall_ms >= oldest[code] for (kind, _), (wall_ms, _) in times.items())
    }
    rows = list(itertools.chain.from_iterable(warm.recall(conn, "cuts", news, partial(unsettled, conn)).values()))
    if late := [code for code in news if code in overtaken or news[code].boots]:
        from_ms = min(oldest[code] for code in late) - DARK_MS * any(news[code].boots for code in late)
        near = _c.center.in_(late) & (sa.func.coalesce(_c.to_ms, _c.last_ms) >= from_ms - RECHARGE_MS)
        rows += list(conn.execute(_STORED.where(near)))
    return _newest(rows)


def unsettled(conn: sa.Connection, codes: Sequence[str]) -> dict[str, list[Any]]:
    """By center: the rows of cuts that are not settled."""
    by_center: dict[str, list[Any]] = {code: [] for code in codes}
    for row in conn.execute(_STORED.where((_c.open == sa.true()) & _c.center.in_(list(codes)))):
        by_center[row.center].append(row)
    return by_center


def _all_stored(conn: sa.Connection, code: str, subject: str) -> dict[int, StoredCut]:
    rows = conn.execute(_STORED.where(_c.center == code, _c.subject == subject))
    return _newest(rows).get((code, subject), {})


def _newest(rows: Iterable[Any]) -> dict[Key, dict[int, StoredCut]]:
    """The newest revision of each."""
    by_ups: dict[Key, dict[int, StoredCut]] = defaultdict(dict)
    for row in sorted(rows, key=lambda item: item.revision):
        cut = msgspec.json.decode(row.facts, type=Cut)
        by_ups[row.center, row.subject][row.noted_ms] = StoredCut(row.revision, row.open, cut)
    return by_ups


def _row(reach: Reach, revision: int, cut: Cut, now_ms: int, *, settled: bool) -> dict[str, Any]:
    return {
        "center": reach.center,
        "subject": reach.subject,
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
    """The cuts of each UPS of a center that began in this time, oldest first, as what is held has them."""
    mine = _STORED.where(_c.center == code, _c.from_ms >= from_ms, _c.from_ms < to_ms)
    cuts = {subject: [one.cut for one in some.values()] for (_, subject), some in _newest(conn.execute(mine)).items()}
    return {subject: sorted(some, key=_from_ms) for subject, some in sorted(cuts.items())}
