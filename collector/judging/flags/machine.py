"""The life of a flag: clear, pending, raised, recovering. Pure; `at_ms` is the time of the reading that is judged.

    clear ──below──▶ pending ──window full──▶ raised ──recovers──▶ recovering ──window full──▶ clear
      ▲─────meets──────┘                        ▲───────falls back──────┘

Where the window says so, one reading below is not enough to wait: a flag at rest remembers it, and nobody is told.
Both halves are one walk: from a state of rest, by a state of waiting, to the other state of rest. Missing data moves
nothing (promise P6), and neither does a reading older than what has been judged (promise P5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from collector.judging.flags.judge import Verdict
from collector.standard.criteria import Criterion, Window

State = Literal["clear", "pending", "raised", "recovering"]
ChangeReason = Literal[
    "change.below_at_once",
    "change.first_below",
    "change.below_for_long_enough",
    "change.below_in_enough_of_the_last_readings",
    "change.met_again_in_time",
    "change.recovering",
    "change.fell_back",
    "change.recovery_held",
    "change.recovered_at_once",
    "change.closed_before_it_was_decided",
    "change.no_longer_asked",
]


@dataclass(frozen=True, slots=True)
class FlagState:
    """`memory` holds, newest last, whether each of the last readings spoke for the next state of rest; at rest too."""

    state: State = "clear"
    since_ms: int = 0
    judged_until_ms: int = -1
    memory: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A flag's state moved, and the code of the reason; its parameter `found` is the verdict's own reason."""

    was: State
    now: State
    at_ms: int
    reason: ChangeReason


@dataclass(frozen=True, slots=True)
class _Half:
    """One of the two walks."""

    rest: State
    waiting: State
    done: State
    at_once: ChangeReason
    started: ChangeReason
    given_up: ChangeReason
    held: ChangeReason
    enough: ChangeReason


_RAISING = _Half(
    "clear", "pending", "raised",
    "change.below_at_once", "change.first_below", "change.met_again_in_time",
    "change.below_for_long_enough", "change.below_in_enough_of_the_last_readings",
)  # fmt: skip
_CLEARING = _Half(
    "raised", "recovering", "clear",
    "change.recovered_at_once", "change.recovering", "change.fell_back",
    "change.recovery_held", "change.recovery_held",
)  # fmt: skip


def step(flag: FlagState, verdict: Verdict, criterion: Criterion, at_ms: int) -> tuple[FlagState, Change | None]:
    """The flag after a verdict on a reading of `at_ms`, and the change if its state moved."""
    if verdict.word == "unknown" or at_ms <= flag.judged_until_ms:
        return flag, None
    raising = flag.state in ("clear", "pending")
    half, window = (_RAISING, criterion.window) if raising else (_CLEARING, criterion.recovery.window)
    speaks = verdict.word == "below" if raising else verdict.recovers
    memory = _trim((*flag.memory, speaks)[-window.n :])
    since_ms = _waiting_since_ms(flag, half, window, criterion.fresh_s, at_ms)
    if sum(memory) >= window.m and at_ms - since_ms >= window.for_s * 1000:
        return _moved(flag, half.done, at_ms, at_ms, (), _why_done(flag, half, window))
    if memory and (flag.state == half.waiting or sum(memory) >= window.watch):
        return _moved(flag, half.waiting, since_ms, at_ms, memory, half.started)
    return _moved(flag, half.rest, flag.since_ms if flag.state == half.rest else at_ms, at_ms, memory, half.given_up)


def pause(flag: FlagState, at_ms: int) -> tuple[FlagState, Change | None]:
    """The flag when its center closes: what was not decided by then is not decided by the night."""
    if at_ms <= flag.judged_until_ms or flag.state in ("clear", "raised"):
        return flag, None
    rest: State = "clear" if flag.state == "pending" else "raised"
    return _moved(flag, rest, at_ms, at_ms, (), "change.closed_before_it_was_decided")


def alerts(was: str, now: str) -> bool:
    """Whether people are told of this change: a flag that is raised, and one that is clear again."""
    return (was in ("clear", "pending") and now == "raised") or (was in ("raised", "recovering") and now == "clear")


def _waiting_since_ms(flag: FlagState, half: _Half, window: Window, fresh_s: int, at_ms: int) -> int:
    """Since when the present wait runs. A gap in the readings starts it anew: nobody knows what was meanwhile."""
    gap = window.for_s > 0 and at_ms - flag.judged_until_ms > fresh_s * 1000
    return at_ms if flag.state != half.waiting or gap else flag.since_ms


def _why_done(flag: FlagState, half: _Half, window: Window) -> ChangeReason:
    if flag.state == half.rest and window.m == 1:
        return half.at_once
    return half.enough if window.n > 1 else half.held


def _trim(memory: tuple[bool, ...]) -> tuple[bool, ...]:
    """Without its oldest `False` entries, which can never count again: a quiet flag's memory stays the same."""
    return memory[memory.index(True) :] if True in memory else ()


def _moved(
    flag: FlagState, now: State, since_ms: int, at_ms: int, memory: tuple[bool, ...], reason: ChangeReason
) -> tuple[FlagState, Change | None]:
    after = FlagState(now, since_ms, at_ms, memory)
    return after, None if now == flag.state else Change(flag.state, now, at_ms, reason)
