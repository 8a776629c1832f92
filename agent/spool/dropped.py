"""When readings were taken that the collector had receipted and the file no longer holds: runs of groups. Pure.

A collector that was restored lacks them for good, by its own fault; these times say which minutes it is. A run ends
where a round is missing, so nothing is claimed of a minute in which nothing was measured.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

JOIN_MS = 90_000  # between two rounds of a minute; what is further apart has a minute between that nobody measured
MAX_RUNS = 2_000  # the oldest are let go beyond that: of those nobody can say any more what they were
MAX_SPANS = 64  # of one account (wire.ShedReading)

Span = tuple[int, int]  # milliseconds, both ends included


class DroppedRun(NamedTuple):
    """Readings `first` to `last` by their keys (some between may still be held), taken from when to when."""

    first: int
    last: int
    from_ms: int
    to_ms: int


def with_group(runs: Sequence[DroppedRun], first: int, last: int, wall_ms: int) -> list[DroppedRun]:
    """`runs`, which ascend, with a group that is dropped now; nearly always it goes on where the newest ended."""
    newest = runs[-1] if runs else None
    if newest is not None and newest.last < first and 0 <= wall_ms - newest.to_ms <= JOIN_MS:
        return [*runs[:-1], newest._replace(last=last, to_ms=wall_ms)]
    place = bisect_left(runs, first, key=lambda run: run.first)
    return [*runs[:place], DroppedRun(first, last, wall_ms, wall_ms), *runs[place:]][-MAX_RUNS:]


def accounts(runs: Sequence[DroppedRun], first: int, last: int) -> Iterator[tuple[int, int, list[Span]]]:
    """[first, last] cut so that none has more times than fit one account, each with when it was taken, if known."""
    mine = [run for run in runs if run.first <= last and run.last >= first]
    for place in range(0, max(1, len(mine)), MAX_SPANS):
        some, following = mine[place : place + MAX_SPANS], mine[place + MAX_SPANS : place + MAX_SPANS + 1]
        until = max(first, following[0].first - 1) if following else last
        yield first, until, [(run.from_ms, run.to_ms) for run in some]
        first = until + 1


def run_proof(spool: str, run: DroppedRun) -> bytes:
    """Shows a flipped bit in a stored run: taken at its word, it would claim minutes that nobody measured."""
    return hashlib.sha256(f"dropped {spool} {tuple(run)}".encode()).digest()[:16]
