"""Every open minute of a period in exactly one bucket. Pure.

measured  a reading of the center was taken in it
before    no gateway of the center was enrolled yet
dark      the gateway itself proved, after its next start, that the power had gone
ours      the collector was deaf, or had a reading of it and lost it by a restore: our fault, nobody else's
silent    nothing is known, and nothing explains it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from collector.register.opening_hours import MINUTE_MS, Opening, spans_between

Bucket = Literal["measured", "before", "dark", "ours", "silent"]
BUCKETS: tuple[Bucket, ...] = get_args(Bucket)
REACH_MS = 30_000  # a reading also speaks for its neighbour minute so far: a round a minute drifts across its edges

Span = tuple[int, int]  # from, to (exclusive), milliseconds


@dataclass(frozen=True)
class Ledger:
    """Minutes of each bucket; they sum to the open minutes of the period."""

    minutes: dict[Bucket, int]

    @property
    def open(self) -> int:
        return sum(self.minutes.values())

    @property
    def owed(self) -> int:
        """Minutes the center answers for: open, but not before it began and not while we could not hear."""
        return self.open - self.minutes["before"] - self.minutes["ours"]


def minutes_open(opening: Opening, from_ms: int, to_ms: int) -> set[int]:
    """The open minutes of a period, each by its number since 1970."""
    spans = spans_between(opening, from_ms, to_ms)
    return {minute for start, end in spans for minute in range(-(-start // MINUTE_MS), -(-end // MINUTE_MS))}


def minutes_of(reading_ms: int) -> range:
    """The minutes for which a reading speaks."""
    return range((reading_ms - REACH_MS) // MINUTE_MS, (reading_ms + REACH_MS) // MINUTE_MS + 1)


def ledger(
    open_minutes: set[int],
    measured: Iterable[int],
    *,
    enrolled_ms: int | None,
    dark: Sequence[Span],
    ours: Sequence[Span],
) -> Ledger:
    """Puts each open minute into the first bucket that claims it, in the order of BUCKETS."""
    known = open_minutes & set(measured)
    left = open_minutes - known
    counted: dict[Bucket, int] = {"measured": len(known)}
    before = {minute for minute in left if enrolled_ms is None or minute * MINUTE_MS < enrolled_ms}
    counted["before"] = len(before)
    left -= before
    for bucket, spans in (("dark", dark), ("ours", ours)):
        claimed = left & _minutes_within(spans)
        counted[bucket] = len(claimed)  # type: ignore[index]  # both words are buckets
        left -= claimed
    counted["silent"] = len(left)
    return Ledger(counted)


def _minutes_within(spans: Sequence[Span]) -> set[int]:
    return {minute for start, end in spans for minute in range(start // MINUTE_MS, -(-end // MINUTE_MS))}
