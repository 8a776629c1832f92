"""The collector's own clock: what becomes of due times when it jumps, and whether its gateways agree with it.

Silence is a matter of elapsed time, which the monotonic clock knows. When the wall clock moved otherwise, what was
written by it lately is moved along. A clock that most synchronised gateways contradict judges no silence and closes no
month.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import sqlalchemy as sa

from agent.common.logs import Event
from agent.common.reasons import Reason
from collector.judging import evaluate
from collector.judging.flags import machine
from collector.judging.flags.judge import Verdict, judge
from collector.standard import Standards
from collector.standard.criteria import CLOCK, Clocks
from collector.store import JUMPS, center_states, schema, upsert

JUMP_MS = 60_000  # less is slewed, or a machine that was busy
SEEN_MS = 300_000  # the last jump on record, of the same size, is the one that a program sees as it starts
RECENT_MS = 3_600_000  # who was heard so long before a jump is moved along with the clock
WINDOW_MS = 600_000  # who was heard so lately has a say
BEHIND_MS = 2 * 60_000  # nothing can be taken later than it is received: our clock is behind
AHEAD_MS = 17 * 60_000  # live readings are never older than this when they come: our clock is ahead
MIN_VOTES = 3  # where so many have synchronised clocks

JUMPED = Event(
    __name__, "warning", "clock_jumped", "the collector's clock was set; times at which centers are due were set again",
    fields="jump_s centers",
)  # fmt: skip

Agreement = Literal["agrees", "disagrees", "unknown"]

_p, _f, _j = schema.pulse.c, schema.flags.c, schema.clock_jumps.c


class ClockWatch:
    """Compares the wall clock with the monotonic one from look to look; `mono_ms` counts milliseconds.

    Several look, of ingest and of the sweep, and each jump is to be moved along once. So jumps are on record in their
    order, and a look takes from what it sees itself what others have put there since it saw one: only the rest is new.
    A jump is seen until it is on record for good: when a machine wakes its clock jumps and its database may be away, so
    that the transaction of the first look is rolled back.
    """

    def __init__(self, mono_ms: Callable[[], int]) -> None:
        self._mono_ms = mono_ms
        self._last: tuple[int, int] | None = None  # wall, monotonic, at a look that had nothing to put on record
        self._known = 0  # the last record that was accounted for then
        self._has_put = False  # something on record since, if that was committed

    def follow(self, conn: sa.Connection, now_ms: int) -> int:
        """Sets again what a jump made wrong, in the caller's transaction; returns the jump, 0 for none. At the first
        look only a clock that is behind what was heard already shows."""
        mono_ms, last, known = self._mono_ms(), self._last, self._known
        if last is None:
            known, jump_ms = _at_a_start(conn, now_ms)
        else:
            jump_ms = now_ms - last[0] - (mono_ms - last[1])
        if abs(jump_ms) > JUMP_MS or self._has_put:
            _lock(conn)
            jump_ms -= _jumped_since(conn, known)
            known = _last_jump(conn, now_ms)[0]
        self._has_put = abs(jump_ms) > JUMP_MS
        if not self._has_put:
            self._last, self._known = (now_ms, mono_ms), known
            return 0
        expected_ms = now_ms - jump_ms
        upsert(conn, schema.clock_jumps, [{"from_ms": expected_ms, "to_ms": now_ms, "number": known + 1}])
        count = _moved(conn, jump_ms, expected_ms, now_ms, begins=last is None)
        JUMPED.log(jump_s=round(jump_ms / 1000), centers=count)
        return jump_ms


def _at_a_start(conn: sa.Connection, now_ms: int) -> tuple[int, int]:
    """The last record, and how far the clock is behind what was heard, 0 where that is on record."""
    newest_ms = conn.scalar(sa.select(sa.func.max(_p.heard_ms))) or 0
    jump_ms = min(0, now_ms - newest_ms)
    known, size_ms = _last_jump(conn, now_ms)
    return known, jump_ms if abs(size_ms - jump_ms) > JUMP_MS else 0


def _lock(conn: sa.Connection) -> None:
    """Until this transaction ends nobody else puts a jump on record."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(JUMPS)))


def _last_jump(conn: sa.Connection, now_ms: int) -> tuple[int, int]:
    """Its number, 0 for none; its size, 0 if that was not just now."""
    row = conn.execute(sa.select(_j.number, _j.from_ms, _j.to_ms).order_by(_j.number.desc()).limit(1)).first()
    if row is None:
        return 0, 0
    return row.number, row.to_ms - row.from_ms if now_ms - SEEN_MS <= row.to_ms <= now_ms + JUMP_MS else 0


def _jumped_since(conn: sa.Connection, number: int) -> int:
    """How far all the jumps after this one went together."""
    return int(conn.scalar(sa.select(sa.func.sum(_j.to_ms - _j.from_ms)).where(_j.number > number)) or 0)


def _moved(conn: sa.Connection, jump_ms: int, expected_ms: int, now_ms: int, *, begins: bool) -> int:
    """Moves what was heard along with the clock, and has everybody looked at again."""
    if jump_ms > 0:
        mine = sa.and_(_p.due_ms.is_not(None), _p.heard_ms.between(expected_ms - RECENT_MS, expected_ms))
        heard_ms: sa.ColumnElement[int] = _p.heard_ms + jump_ms
    else:
        mine, heard_ms = sa.and_(_p.heard_ms > now_ms), _p.heard_ms + jump_ms
        if begins:  # nobody knows how long ago that was
            heard_ms = sa.literal(now_ms, sa.BigInteger)
    moved = conn.execute(sa.update(schema.pulse).where(mine).values(heard_ms=heard_ms)).rowcount
    conn.execute(sa.update(schema.pulse).where(_p.heard_ms > now_ms).values(heard_ms=now_ms))
    conn.execute(sa.update(schema.pulse).where(_p.first_ms > _p.heard_ms).values(first_ms=_p.heard_ms))
    conn.execute(sa.update(schema.pulse).where(_p.due_ms.is_not(None)).values(due_ms=now_ms))
    conn.execute(sa.update(schema.pulse).values(clock_ms=_p.clock_ms - jump_ms))
    if jump_ms < 0:  # by a clock that was ahead, the past was closed too late
        conn.execute(sa.update(schema.spools).values(marks="[]"))
    conn.execute(sa.update(schema.flags).where(_f.judged_until_ms > now_ms).values(judged_until_ms=now_ms))
    conn.execute(sa.update(schema.flags).where(_f.since_ms > now_ms).values(since_ms=now_ms))
    center_states.renew(conn, now_ms)
    return int(moved)


# ---------------------------------------------------------------- what the gateways say


def agreement(conn: sa.Connection, now_ms: int) -> Agreement:
    """Whether most of the synchronised gateways heard lately agree with our clock. `unknown`: some are known, and none
    was heard lately by this clock."""
    off, votes, known = _votes(conn, now_ms)
    if not known:
        return "agrees"
    if not votes:
        return "unknown"
    return "disagrees" if 2 * off > votes and votes >= min(MIN_VOTES, known) else "agrees"


def _votes(conn: sa.Connection, now_ms: int) -> tuple[int, int, int]:
    """(gateways that disagree, that have a say, whose clock was ever synchronised)"""
    lately = _p.heard_ms.between(now_ms - WINDOW_MS, now_ms + JUMP_MS)
    off = lately & sa.or_(_p.clock_ms > BEHIND_MS, _p.clock_ms < -AHEAD_MS)
    counts = [sa.func.coalesce(sa.func.sum(sa.case((which, 1), else_=0)), 0) for which in (off, lately)]
    row = conn.execute(sa.select(*counts, sa.func.count()).where(_p.clock_ms.is_not(None))).one()
    return int(row[0]), int(row[1]), int(row[2])


def find(conn: sa.Connection, standards: Standards, now_ms: int) -> tuple[Agreement, int]:
    """`agreement`, and the finding about it: raised while most disagree. Returns how many flags changed, too."""
    word, standard = agreement(conn, now_ms), standards.at(now_ms) or standards.versions[-1]
    bench = evaluate.load(conn, [evaluate.EveryCenter()])[0]
    known = (CLOCK.id, "") in bench.flags
    if word == "unknown" or (word == "agrees" and not known):
        return word, 0
    off, votes, _ = _votes(conn, now_ms)
    held = bench.held(CLOCK, "", now_ms)
    verdict = judge(CLOCK, Clocks(100.0 * off / votes if word == "disagrees" else 0.0), evaluate.EveryCenter())
    reason = Reason.of("fleet.clocks", n=off, whole=votes, found=verdict.reason)
    verdict = Verdict(verdict.word, reason, verdict.value, verdict.bound, verdict.recovers)
    bench.apply(CLOCK, "", verdict, machine.step(held.flag, verdict, CLOCK, now_ms), standard.id)
    return word, evaluate.save(conn, [bench], now_ms)
