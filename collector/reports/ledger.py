"""Every open minute in exactly one bucket. Pure.

up                    a reading was taken in it, the line was up, and nothing that was read fell short
below                 the line was up, and something that was read fell short of the standard
down                  a reading was taken in it, and the line did not reach the far end
excused               in a time that an exclusion takes out, whatever happened in it
unknown_explained     no reading, and the gateway itself proved, after its next start, that the power had gone
unknown_unexplained   no reading, and nothing explains it
ours                  the collector was deaf, or had a reading of it and lost it by a restore: our fault

Minutes before the first gateway was enrolled are no open minutes yet; they are counted apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from collector.register.opening_hours import MINUTE_MS, Opening, spans_between

Bucket = Literal["up", "below", "down", "excused", "unknown_explained", "unknown_unexplained", "ours"]
BUCKETS: tuple[Bucket, ...] = get_args(Bucket)
# What reports before format 4 counted in their place.
FormerBucket = Literal["measured", "before", "dark", "ours", "silent"]
REACH_MS = 30_000  # a reading also speaks for its neighbour minute so far: a round a minute drifts across its edges

Span = tuple[int, int]  # from, to (exclusive), milliseconds


@dataclass(frozen=True)
class Ledger:
    """Minutes of each bucket; they sum to the open minutes of the period. `before` come on top."""

    minutes: dict[Bucket, int]
    before: int = 0

    @property
    def open(self) -> int:
        return sum(self.minutes.values())

    @property
    def measured(self) -> int:
        return self.minutes["up"] + self.minutes["below"] + self.minutes["down"]

    @property
    def owed(self) -> int:
        """Minutes the center answers for: open, not excused, and not while we could not hear."""
        return self.open - self.minutes["excused"] - self.minutes["ours"]

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger({name: self.minutes[name] + other.minutes[name] for name in BUCKETS}, self.before + other.before)


NOTHING = Ledger(dict.fromkeys(BUCKETS, 0))


@dataclass(frozen=True, kw_only=True)
class MinuteStates:
    """What is known of minutes, by their numbers since 1970. `measured` has those of `below` and `down`, too."""

    measured: Collection[int] = ()
    below: Collection[int] = ()
    down: Collection[int] = ()


def minutes_open(opening: Opening, from_ms: int, to_ms: int) -> set[int]:
    """The open minutes of a period, each by its number since 1970."""
    spans = spans_between(opening, from_ms, to_ms)
    return {minute for start, end in spans for minute in range(-(-start // MINUTE_MS), -(-end // MINUTE_MS))}


def minutes_of(reading_ms: int) -> range:
    """The minutes for which a reading speaks."""
    return range((reading_ms - REACH_MS) // MINUTE_MS, (reading_ms + REACH_MS) // MINUTE_MS + 1)


def minutes_within(spans: Iterable[Span]) -> set[int]:
    """The minutes that these times touch."""
    return {minute for start, end in spans for minute in range(start // MINUTE_MS, -(-end // MINUTE_MS))}


def ledger(
    open_minutes: Collection[int],
    states: MinuteStates,
    *,
    enrolled_ms: int | None,
    excused: Sequence[Span] = (),
    dark: Sequence[Span] = (),
    ours: Sequence[Span] = (),
) -> Ledger:
    """Puts each open minute into the first bucket that claims it: excused, what was measured, explained, ours."""
    left, measured = set(open_minutes), set(states.measured)
    before = {m for m in left - measured if enrolled_ms is None or m * MINUTE_MS < enrolled_ms}
    left -= before
    counted = dict.fromkeys(BUCKETS, 0)
    claims: tuple[tuple[Bucket, set[int]], ...] = (
        ("excused", minutes_within(excused)),
        ("down", measured & set(states.down)),
        ("below", measured & set(states.below)),
        ("up", measured),
        ("unknown_explained", minutes_within(dark)),
        ("ours", minutes_within(ours)),
        ("unknown_unexplained", set(left)),
    )
    for bucket, claimed in claims:
        counted[bucket] = len(left & claimed)
        left -= claimed
    return Ledger(counted, len(before))
