"""What a center's seats say of a gap: who had shut down in order just before it, and who ran on through it. Pure.

Seats are witnesses on the same mains with clocks of their own. Who closes a center shuts the PCs down one after the
other; a cut of the mains takes them without a word; a plug pulled from the gateway alone leaves them running.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from agent.common.reasons import Reason

LEAST = 2  # one seat alone says too little
START_MS = 300_000  # so long after a gap seats are still being switched on because of it
AFTER_MS = 900_000  # a later call speaks of other things


class SeatCount(msgspec.Struct, frozen=True, kw_only=True):
    """One roll call as far as gaps are concerned: seats that were on until lately (or still are), those of them that
    said good-bye, and since when each that is heard has been up, in milliseconds UTC."""

    at_ms: int
    on_lately: int
    off_lately: int
    up_since_ms: tuple[int, ...]
    id: str


@dataclass(frozen=True, kw_only=True)
class SeatEvidence:
    """What the roll calls around a gap say together: the last one before it and the first one after it that heard any
    seat, with their times. Zero calls say nothing."""

    on_before: int = 0
    off_before: int = 0
    before_id: str = ""
    before_ms: int | None = None
    heard_after: int = 0
    ran_on: int = 0
    anew: int = 0
    after_id: str = ""
    after_ms: int | None = None

    @property
    def were_shut_down(self) -> bool:
        """Most of those that had been on said good-bye just before the gap."""
        return _most(self.off_before, self.on_before)

    @property
    def stayed_on(self) -> bool:
        return _most(self.ran_on, self.heard_after)

    @property
    def lost_power(self) -> bool:
        """Most went down in the gap, and not because they were shut down before it."""
        return _most(self.anew, self.heard_after) and not self.were_shut_down

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """What counts as evidence, with the readings it comes from."""
        reasons = []
        if self.off_before:
            counts = {"n": self.off_before, "whole": self.on_before}
            reasons.append(Reason("evidence.seats_off", {"reading": self.before_id, **counts}))
        if self.ran_on or self.anew:
            counts = {"n": self.ran_on, "whole": self.heard_after, "anew": self.anew}
            reasons.append(Reason("evidence.seats_ran", {"reading": self.after_id, **counts}))
        return tuple(reasons)


def _most(part: int, whole: int) -> bool:
    return part >= LEAST and 2 * part >= whole


def call_of(reading: object, at_ms: int, id: str) -> SeatCount | None:
    """A seats reading as a call; None for one that says nothing of single seats."""
    columns = getattr(reading, "seats", None)
    if columns is None:
        return None
    states = columns.state
    lately = [state for state, quiet_s in zip(states, columns.quiet_s, strict=False) if quiet_s is not None]
    off, gone = lately.count("off"), lately.count("missing")
    heard = states.count("healthy") + states.count("unhealthy")
    up_since_ms = tuple(sorted(at_ms - round(up_s * 1000) for up_s in columns.uptime_s if up_s is not None))
    return SeatCount(at_ms=at_ms, on_lately=heard + off + gone, off_lately=off, up_since_ms=up_since_ms, id=id)


def before(seats: SeatEvidence, call: SeatCount) -> SeatEvidence:
    """With a call before the gap, if it is the last one so far."""
    if seats.before_ms is not None and (call.at_ms, call.id) <= (seats.before_ms, seats.before_id):
        return seats
    return replace(seats, on_before=call.on_lately, off_before=call.off_lately, before_id=call.id, before_ms=call.at_ms)


def after(seats: SeatEvidence, call: SeatCount, from_ms: int, to_ms: int) -> SeatEvidence:
    """With a call after the gap, if it is the first one so far that heard any seat."""
    if not call.up_since_ms or not to_ms <= call.at_ms <= to_ms + AFTER_MS:
        return seats
    if seats.heard_after and (seats.after_ms is None or (seats.after_ms, seats.after_id) <= (call.at_ms, call.id)):
        return seats
    return replace(
        seats,
        heard_after=len(call.up_since_ms),
        ran_on=sum(since_ms < from_ms for since_ms in call.up_since_ms),
        anew=sum(from_ms <= since_ms <= to_ms + START_MS for since_ms in call.up_since_ms),
        after_id=call.id,
        after_ms=call.at_ms,
    )
