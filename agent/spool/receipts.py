"""Which numbers of the spools the collector has receipted: ascending, disjoint ranges. Pure.

A receipted group stays in the file while there is room, as the collector may lose it again: a database restored from an
older backup asks for what it lacks (design P10).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence

KeyRange = tuple[int, int]  # first and last, both included


def covers(held: Sequence[KeyRange], key: int) -> bool:
    place = bisect_left(held, key, key=lambda one: one[1])
    return place < len(held) and held[place][0] <= key


def added(held: Sequence[KeyRange], first: int, last: int) -> list[KeyRange]:
    """`held` with one range more; ranges that meet or overlap become one."""
    start = bisect_left(held, first - 1, key=lambda one: one[1])
    end = start
    while end < len(held) and held[end][0] <= last + 1:
        first, last = min(first, held[end][0]), max(last, held[end][1])
        end += 1
    return [*held[:start], (first, last), *held[end:]]


def removed(held: Sequence[KeyRange], first: int, last: int) -> list[KeyRange]:
    """`held` without the numbers of one range."""
    left: list[KeyRange] = []
    for low, high in held:
        parts = ((low, min(high, first - 1)), (max(low, last + 1), high))
        left += [(low, high)] if high < first or low > last else [part for part in parts if part[0] <= part[1]]
    return left


def outside(held: Sequence[KeyRange], first: int, last: int) -> Iterator[KeyRange]:
    """The parts of [first, last] that are in none of the ranges, ascending."""
    for low, high in held[bisect_left(held, first, key=lambda one: one[1]) :]:
        if low > last:
            break
        if first < low:
            yield first, low - 1
        first = high + 1
    if first <= last:
        yield first, last


def range_proof(spool: str, first: int, last: int) -> bytes:
    """Shows a flipped bit in a stored range: taken at its word, it would pass over readings that still wait."""
    return hashlib.sha256(f"receipted {spool} {first} {last}".encode()).digest()[:16]
