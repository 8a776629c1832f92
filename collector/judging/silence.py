"""Finds the silent. One indexed question names the centers whose silence has become a matter; the rest is judging.

Silence is counted in open time, so a center that switches off at closing time is not silent. If most of the centers
that should be heard are quiet at once, the finding is one: the collector is deaf; nobody else is accused. Who said last
that the mains are cut is quiet for a reason of its own: of those a national outage makes no deaf collector.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.judging import evaluate
from collector.judging.flags import machine
from collector.judging.flags.judge import Verdict, bound_of, judge
from collector.register import calendar, opening_hours
from collector.register.centers import PAUSED
from collector.standard import Standards
from collector.standard.criteria import DEAF, Criterion, Fleet, Silence, Standard
from collector.store import schema

MIN_FLEET = 5  # of fewer centers, half may well be silent by chance
HOLD_MS = 60_000  # while the collector is deaf, the silent are looked at again this much later
PAUSED_MS = 300_000  # whether they are looked for again is telling so often


Ear = Literal["hears", "deaf", "hears again"]


@dataclass(frozen=True)
class Swept:
    """What a sweep found: centers looked at, flags whose state moved, and how well the collector itself hears."""

    looked_at: int
    changed: int
    ear: Ear


@dataclass(frozen=True)
class _Quiet:
    """A center as the sweep needs it, and when it was last heard."""

    code: str
    tier: str
    seats_promised: int
    opening: str
    lifecycle: str
    heard_ms: int
    isp: str = ""
    feeder: str = ""
    exchange: str = ""
    district: str = ""
    province: str = ""
    rules: tuple[opening_hours.DayRule, ...] = ()


def sweep(conn: sa.Connection, standards: Standards, now_ms: int) -> Swept:
    """Judges silence, in the caller's transaction.

    1. Ask whose time is up. 2. Put off those who are closed, paused or not silent for long enough in open time.
    3. If the rest come with most of the fleet, say once that the collector is deaf. 4. Otherwise judge each.
    """
    standard = standards.at(now_ms)
    criteria = standard.by_reading.get("silence", ()) if standard else ()
    if standard is None or not criteria:
        return Swept(0, 0, "hears")
    criterion = criteria[0]
    due = _ruled(conn, [_Quiet(*row) for row in conn.execute(_DUE, {"now_ms": now_ms})], now_ms)
    later = {center.code: _put_off(center, criterion, standard, now_ms) for center in due}
    silent = [center for center in due if later[center.code] == now_ms]
    ear, changed = _listen(conn, standard, criterion, bool(silent), now_ms)
    if ear == "hears":
        benches = evaluate.load(conn, silent)
        later |= {bench.center.code: _judge(bench, criterion, standard, now_ms) for bench in benches}
        changed += evaluate.save(conn, benches, now_ms)
    else:
        later |= {center.code: now_ms + HOLD_MS for center in silent}
    _reschedule(conn, later)
    if ear == "hears again":
        _fresh_start(conn, criterion, now_ms)
    return Swept(len(due), changed, ear)


def listening_again(conn: sa.Connection, standards: Standards, now_ms: int) -> None:
    """To be called at a start: time in which the collector was not running is nobody's silence."""
    standard = standards.at(now_ms)
    last_ms = conn.scalar(sa.select(sa.func.max(schema.pulse.c.heard_ms)))
    for criterion in standard.by_reading.get("silence", ()) if standard else ():
        _look_for_the_forgotten(conn, criterion, now_ms)
        if last_ms is not None and last_ms <= now_ms - _quiet_ms(criterion):
            _fresh_start(conn, criterion, now_ms)


def _look_for_the_forgotten(conn: sa.Connection, criterion: Criterion, now_ms: int) -> None:
    """Programs before 0.3 never looked for a center again that was paused while it was silent."""
    f = schema.flags.c
    judged = sa.select(f.center).where(f.criterion == criterion.id, f.state != "clear")
    forgotten = _p.due_ms.is_(None) & _p.center.not_in(judged)
    conn.execute(sa.update(schema.pulse).where(forgotten).values(due_ms=now_ms + _longest_ms(criterion)))


_p, _c, _k = schema.pulse.c, schema.centers.c, schema.cuts.c
_QUIET = sa.select(
    _p.center, _c.tier, _c.seats_promised, _c.opening, _c.lifecycle, _p.heard_ms, _c.isp, _c.feeder, _c.exchange,
    _c.district, _c.province,
).join_from(schema.pulse, schema.centers, _p.center == _c.center)  # fmt: skip
_DUE = _QUIET.where(_p.due_ms <= sa.bindparam("now_ms")).order_by(_p.center)
_EXPECTED = _QUIET.where(_p.due_ms.is_not(None), _c.lifecycle.not_in(PAUSED))


def _ruled(conn: sa.Connection, rows: list[_Quiet], now_ms: int) -> list[_Quiet]:
    """With what the calendar says of their days around now."""
    around = calendar.around(conn, now_ms) if rows else calendar.Calendar()
    return [replace(row, rules=around.rules(row)) for row in rows] if around.entries else rows


def _put_off(center: _Quiet, criterion: Criterion, standard: Standard, now_ms: int) -> int | None:
    """When to look again: now for those to be judged, later for those paused or not yet silent in open time; None for
    one that never opens."""
    if center.lifecycle in PAUSED:
        return now_ms + PAUSED_MS
    hours = opening_hours.parse(center.opening, standard.tz, center.rules)
    if criterion.when == "open_hours" and not opening_hours.is_open(hours, now_ms):
        return opening_hours.after_open(hours, now_ms, 1)
    if _silence(center, criterion, standard, now_ms).word == "below":
        return now_ms
    return opening_hours.after_open(hours, center.heard_ms, _bound_ms(criterion, center) + 1)


def _silence(center: _Quiet, criterion: Criterion, standard: Standard, now_ms: int) -> Verdict:
    hours = opening_hours.parse(center.opening, standard.tz, center.rules)
    counted_ms = opening_hours.open_ms(hours, center.heard_ms, now_ms) if criterion.when == "open_hours" else None
    silent_ms = now_ms - center.heard_ms if counted_ms is None else counted_ms
    return judge(criterion, Silence(silent_ms / 1000), center)


def _bound_ms(criterion: Criterion, center: _Quiet) -> int:
    return int((bound_of(criterion, center) or 0) * 1000)


def _longest_ms(criterion: Criterion) -> int:
    """The longest silence that the criterion allows any center."""
    return int(max(criterion.figure.by_tier.values()) * 1000) if criterion.figure else 0


def _quiet_ms(criterion: Criterion) -> int:
    """Who has not been heard for so long is quiet, though not yet silent."""
    return _longest_ms(criterion) // 2


def _fresh_start(conn: sa.Connection, criterion: Criterion, now_ms: int) -> None:
    """Gives the quiet their whole time again."""
    quiet = _p.due_ms.is_not(None) & (_p.heard_ms <= now_ms - _quiet_ms(criterion))
    due_ms = now_ms + _longest_ms(criterion)
    conn.execute(sa.update(schema.pulse).where(quiet, _p.due_ms < due_ms).values(due_ms=due_ms))


def _judge(bench: evaluate.CenterState, criterion: Criterion, standard: Standard, now_ms: int) -> int | None:
    """Steps the flag of one silent center; returns when to look again."""
    center = bench.center
    assert isinstance(center, _Quiet)
    verdict = _silence(center, criterion, standard, now_ms)
    held = bench.held(criterion, "", now_ms)
    bench.apply(criterion, "", verdict, machine.step(held.flag, verdict, criterion, now_ms), standard.id)
    return now_ms + HOLD_MS if held.flag.state in ("pending", "recovering") else None


def _listen(
    conn: sa.Connection, standard: Standard, criterion: Criterion, wanted: bool, now_ms: int
) -> tuple[Ear, int]:
    """How the collector hears, and the changes written. Asked only if somebody seems silent or it was deaf before."""
    bench = evaluate.load(conn, [evaluate.EveryCenter()])[0]
    held = bench.held(DEAF, "", now_ms)
    was_deaf = held.flag.state == "raised"
    if not wanted and not was_deaf:
        return "hears", 0
    verdict = _hearing(_expected(conn, standard, now_ms), _cut(conn), now_ms - _quiet_ms(criterion))
    bench.apply(DEAF, "", verdict, machine.step(held.flag, verdict, DEAF, now_ms), standard.id)
    deaf = held.flag.state == "raised"
    return "deaf" if deaf else "hears again" if was_deaf else "hears", evaluate.save(conn, [bench], now_ms)


def _expected(conn: sa.Connection, standard: Standard, now_ms: int) -> list[_Quiet]:
    """The centers that should be heard now: open, not paused, and not judged silent already."""
    rows = _ruled(conn, [_Quiet(*row) for row in conn.execute(_EXPECTED)], now_ms)
    return [row for row in rows if _is_open(row, standard, now_ms)]


def _cut(conn: sa.Connection) -> set[str]:
    """The centers whose last word of their power is that the mains are cut."""
    return set(conn.scalars(sa.select(_k.center).where(_k.open, _k.to_ms.is_(None))))


def _is_open(row: _Quiet, standard: Standard, at_ms: int) -> bool:
    return opening_hours.is_open(opening_hours.parse(row.opening, standard.tz, row.rules), at_ms)


def _hearing(expected: Sequence[_Quiet], cut: Collection[str], quiet_ms: int) -> Verdict:
    """Pure. How many are quiet since `quiet_ms`, of those whose quiet would say something."""
    telling = [center for center in expected if center.heard_ms > quiet_ms or center.code not in cut]
    if len(telling) < MIN_FLEET:
        return Verdict("unknown", Reason.of("fleet.too_few", n=len(telling)))
    quiet = sum(center.heard_ms <= quiet_ms for center in telling)
    verdict = judge(DEAF, Fleet(100.0 * quiet / len(telling)), evaluate.EveryCenter())
    reason = Reason.of("fleet.quiet", n=quiet, whole=len(telling), found=verdict.reason)
    return Verdict(verdict.word, reason, verdict.value, verdict.bound, verdict.recovers)


def _reschedule(conn: sa.Connection, later: dict[str, int | None]) -> None:
    if later:
        change = sa.update(schema.pulse).where(_p.center == sa.bindparam("code")).values(due_ms=sa.bindparam("later"))
        conn.execute(change, [{"code": code, "later": due_ms} for code, due_ms in later.items()])
