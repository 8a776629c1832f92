"""When a reading was taken, if its gateway did not know. Pure; the gateway's own stamps stay in evidence.

Within one boot the monotonic clock shows how far readings lie apart, whatever the wall clock does meanwhile. So a boot
has one figure, how far its monotonic clock is behind UTC, and that dates all its readings. A synchronised wall clock
says it, and as the batches come the better figure is taken. A boot that never synchronises is dated by what all its
batches show, each with its time of receipt, and by the boots after it, in whatever order they came (`settled`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.wire import Stamp

SLACK_MS = 2 * 60_000  # how far a clock may run ahead of ours and still be believed
LIVE_MS = 15 * 60_000  # readings sent as live are never older than this when they leave
SAME_MS = 1_000  # two figures of one boot that are this near are the same
FIRST_MS = 1_735_689_600_000  # 2025: no gateway measured before, so no clock before it is right


@dataclass(frozen=True)
class Bracket:
    """The time in which the readings of a batch can have been taken. `from_ms` is when its gateway enrolled, or later
    as its spool's earlier batches and its nonce show."""

    from_ms: int
    received_ms: int
    live: bool = False

    def holds(self, stamp: Stamp) -> bool:
        """Whether its wall clock can be true, whatever it says of itself."""
        return max(FIRST_MS, self.from_ms) <= stamp.wall_ms <= self.received_ms + SLACK_MS

    def is_closed(self, stamp: Stamp) -> bool:
        """Whether its wall clock names a time before all of them, by more than a clock errs."""
        return stamp.wall_ms < self.from_ms - SLACK_MS


@dataclass(frozen=True, slots=True)
class OffsetBounds:
    """What batches show of how far UTC is ahead of a boot's monotonic clock: no less than `floor_ms`, as nothing of it
    was taken before its bracket; no more than `limit_ms`, as nothing was received before it was taken; `claim_ms` is
    what a wall clock said of itself, the latest that its own batch allows. `last_ms` is the monotonic time of the last
    reading."""

    floor_ms: int | None = None
    limit_ms: int | None = None
    claim_ms: int | None = None
    last_ms: int = 0

    def __or__(self, other: OffsetBounds) -> OffsetBounds:
        """Of both: the order does not matter."""
        return OffsetBounds(
            max((ms for ms in (self.floor_ms, other.floor_ms) if ms is not None), default=None),
            min((ms for ms in (self.limit_ms, other.limit_ms) if ms is not None), default=None),
            max((ms for ms in (self.claim_ms, other.claim_ms) if ms is not None), default=None),
            max(self.last_ms, other.last_ms),
        )

    def contradicts(self, other: OffsetBounds) -> bool:
        """Whether no figure can be true of both."""
        pairs = ((self.floor_ms, other.limit_ms), (other.floor_ms, self.limit_ms))
        return any(
            floor_ms is not None and limit_ms is not None and floor_ms > limit_ms for floor_ms, limit_ms in pairs
        )

    def figure(self, until_ms: float = math.inf) -> int:
        """What the wall clock said, if that can be true; else as late as can be. The boot was over by `until_ms`,
        unless receipts show otherwise: where one name comes before and after another's, order shows nothing. Nor does a
        floor above the limit: what was measured before its gateway enrolled has one."""
        latest_ms = math.inf if self.limit_ms is None else self.limit_ms
        over_ms = until_ms - self.last_ms
        if self.floor_ms is None or not over_ms < self.floor_ms <= latest_ms:
            latest_ms = min(latest_ms, over_ms)
        is_above = self.floor_ms is None or self.floor_ms > latest_ms or (self.claim_ms or 0) >= self.floor_ms
        if self.claim_ms is not None and is_above and self.claim_ms <= latest_ms + SAME_MS:
            latest_ms = min(latest_ms, self.claim_ms)
        return int(latest_ms)


First = tuple[int, int]  # number, monotonic time


@dataclass(frozen=True, slots=True)
class Ahead:
    """How far UTC is ahead of a boot's monotonic clock; `sure` if by a synchronised clock. `bounds` are of one that is
    not, `firsts` the first of its readings in each spool: (number, monotonic time)."""

    ms: int
    sure: bool
    bounds: OffsetBounds = OffsetBounds()
    firsts: Mapping[str, First] = field(default_factory=dict)


def bracket(
    *, live: bool, issued_ms: int | None, enrolled_ms: int, received_ms: int, after_ms: int | None = None
) -> Bracket:
    """A backlog may reach back to what its spool had sent live before it (`after_ms`) or else to the enrolment; live
    readings only a little before the nonce they were sent after. What lies in the future shows nothing: then our own
    clock was put back."""
    bounds = [enrolled_ms, after_ms]
    if live and issued_ms is not None:
        bounds.append(_floor_ms(issued_ms) if issued_ms <= received_ms else None)
    return Bracket(max((ms for ms in bounds if ms is not None and ms <= received_ms), default=0), received_ms, live)


def floor_ms(*, live: bool, issued_ms: int | None, received_ms: int) -> int | None:
    """Nothing that a spool numbers after these readings was taken before; None: they show nothing of it."""
    return _floor_ms(issued_ms) if live and issued_ms is not None and issued_ms <= received_ms else None


def _floor_ms(issued_ms: int) -> int:
    return issued_ms - LIVE_MS


def boots_of(stamps: Sequence[Stamp], when: Bracket, known: Mapping[str, Ahead]) -> dict[str, Ahead]:
    """The figure of each boot in a batch, `known` being those of the batches before.

    What nothing dates is put as late as it can be: the last reading of the batch at its receipt, an earlier boot just
    before the next.
    """
    clocks: dict[str, Ahead] = {}
    until_ms = when.received_ms
    for boot in reversed(dict.fromkeys(stamp.boot for stamp in stamps)):
        mine = [stamp for stamp in stamps if stamp.boot == boot]
        clocks[boot] = _synced(mine, when, known.get(boot)) or _unsynced(mine, when, known.get(boot), until_ms)
        until_ms = min(until_ms, mine[0].mono_ms + clocks[boot].ms)
    return clocks


def dated(mono_ms: int, ahead: Ahead, received_ms: int, from_ms: int = 0) -> int:
    """The time of a reading of a boot; never later than its receipt, but for the slack of a synchronised clock, and
    never before `from_ms`: the past is closed."""
    return max(FIRST_MS, from_ms, min(mono_ms + ahead.ms, received_ms + (SLACK_MS if ahead.sure else 0)))


def _synced(mine: Sequence[Stamp], when: Bracket, known: Ahead | None) -> Ahead | None:
    """By synchronised clocks, of this batch and of those before; None if they give nothing possible.

    1. The boot's last reading cannot be later than its receipt. Live readings were taken just before it, so of two
       figures that can be true the later is. A backlog is dated as its boot was before.
    2. Where all are ahead of our clock, the one that is least so is believed within the slack.
    """
    last_ms = max(stamp.mono_ms for stamp in mine)
    claimed = [stamp.wall_ms - stamp.mono_ms for stamp in mine if stamp.clock == "synced" and when.holds(stamp)]
    held = [known.ms] if known and known.sure and last_ms + known.ms <= when.received_ms + SAME_MS else []
    if held and not (when.live and claimed):
        return known if _can_be(last_ms + held[0], when) else None
    possible = [ms for ms in claimed if last_ms + ms <= when.received_ms + SAME_MS] + held
    near = [ms for ms in claimed if last_ms + ms <= when.received_ms + SLACK_MS]
    if not possible and not near:
        return None
    best = Ahead(max(possible) if possible else min(near), sure=True)
    return known if known and known.sure and abs(known.ms - best.ms) <= SAME_MS else best


def _unsynced(mine: Sequence[Stamp], when: Bracket, known: Ahead | None, until_ms: int) -> Ahead:
    """By all that its batches have shown until now; where what is live contradicts that, our own clock was set."""
    own, before = _bounds(mine, when), known.bounds if known and not known.sure else OffsetBounds()
    bounds = own if when.live and before.contradicts(own) else own | before
    return Ahead(bounds.figure(until_ms), sure=False, bounds=bounds)


def _bounds(mine: Sequence[Stamp], when: Bracket) -> OffsetBounds:
    times = [stamp.mono_ms for stamp in mine]
    limit_ms = when.received_ms - max(times)
    claims = [stamp.wall_ms - stamp.mono_ms for stamp in mine if stamp.clock != "synced" and when.holds(stamp)]
    possible = [ms for ms in claims if ms <= limit_ms + SAME_MS]
    return OffsetBounds(when.from_ms - min(times), limit_ms, max(possible, default=None), max(times))


def settled(boots: Mapping[str, Ahead]) -> dict[str, Ahead]:
    """The boots of one gateway that never synchronised, dated by what is held of all. One that another follows in a
    spool was over when the first reading of that one was taken."""
    spools: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for boot, ahead in boots.items():
        for spool, first in ahead.firsts.items():
            spools[spool].append((*first, boot))
    unsure = {boot: ahead for boot, ahead in boots.items() if not ahead.sure}
    limits: dict[str, float] = {}
    for _, order in sorted(spools.items()):
        until_ms = math.inf
        for _, first_ms, boot in sorted(order, reverse=True):
            if boot in unsure:
                limits[boot] = min(limits.get(boot, math.inf), until_ms)
                unsure[boot] = replace(unsure[boot], ms=unsure[boot].bounds.figure(limits[boot]))
            until_ms = min(until_ms, first_ms + unsure.get(boot, boots[boot]).ms)
    return unsure


def _can_be(at_ms: int, when: Bracket) -> bool:
    """Whether the last reading of a boot in a batch can have been taken then."""
    return at_ms <= when.received_ms + SAME_MS and (at_ms >= when.from_ms or not when.live)
