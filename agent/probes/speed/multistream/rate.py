"""From counters to a rate. Pure: times in seconds, amounts in bytes, rates in Mbit/s."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

MIN_BINS = 5
SAME = 0.03
FALL, FALL_SIDE_S, BETTER = 0.3, 0.4, 0.15


def slope_mbps(times_s: Sequence[float], totals: Sequence[float]) -> float | None:
    """The least-squares slope of a cumulative curve: one late sample at either end moves it less than it moves
    (last - first) / time. None with fewer than two distinct times."""
    count = len(times_s)
    if count < 2:
        return None
    mean_time, mean_total = sum(times_s) / count, sum(totals) / count
    spread = sum((time - mean_time) ** 2 for time in times_s)
    if spread == 0:
        return None
    lean = sum((time - mean_time) * (total - mean_total) for time, total in zip(times_s, totals, strict=True))
    return lean / spread * 8 / 1e6


def settled(times_s: Sequence[float], totals: Sequence[float], span_s: float) -> bool:
    """Whether the two halves of the last `span_s` have the same slope within 3 %."""
    inside = [(time, total) for time, total in zip(times_s, totals, strict=True) if time >= times_s[-1] - span_s]
    middle = len(inside) // 2
    if middle < MIN_BINS or inside[-1][0] - inside[0][0] < 0.8 * span_s:
        return False
    early = slope_mbps(*zip(*inside[: middle + 1], strict=True))
    late = slope_mbps(*zip(*inside[middle:], strict=True))
    return early is not None and late is not None and early > 0 and abs(late - early) <= SAME * early


def fall(times_s: Sequence[float], totals: Sequence[float], round_trip_s: float = 0.0) -> int | None:
    """Where a curve's rate falls for good, as an index; None when it does not. Providers let the first megabytes pass
    faster (a token bucket). Both sides are longer than `FALL_SIDE_S` and a few round trips, the later is straight and
    lower by more than `FALL`, and two straight lines fit far better than one: TCP's own swings do not do that."""
    side_s = FALL_SIDE_S + 2 * round_trip_s
    places = [i for i in range(len(times_s)) if times_s[0] + side_s <= times_s[i] <= times_s[-1] - side_s]
    if not places:
        return None
    misses = _Misses(times_s, totals)
    count = len(times_s)
    best = min(places, key=lambda i: misses.of(0, i + 1) + misses.of(i, count))
    early, late = slope_mbps(times_s[: best + 1], totals[: best + 1]), slope_mbps(times_s[best:], totals[best:])
    if not early or late is None or late > (1 - FALL) * early:
        return None
    return best if misses.of(0, best + 1) + misses.of(best, count) < BETTER * misses.of(0, count) else None


class _Misses:
    """By how much any part of a curve misses its own straight line: sums of squares, bytes squared, from running sums.
    A test looks at each tick, so each part must cost the same."""

    def __init__(self, times_s: Sequence[float], totals: Sequence[float]) -> None:
        first_s, middle = times_s[0], sum(totals) / len(totals)
        points = [(time - first_s, value - middle) for time, value in zip(times_s, totals, strict=True)]
        self.sums: list[list[float]] = [
            list(itertools.accumulate(column, initial=0.0))
            for column in zip(*((x, y, x * x, x * y, y * y) for x, y in points), strict=True)
        ]

    def of(self, first: int, end: int) -> float:
        """Of the points from `first` to before `end`."""
        count = end - first
        x, y, xx, xy, yy = (column[end] - column[first] for column in self.sums)
        spread = xx - x * x / count
        lean: float = xy - x * y / count
        return max(0.0, yy - y * y / count - (lean * lean / spread if spread > 0 else 0.0))


def total(curves: Iterable[tuple[int, Sequence[float]]], count: int) -> list[float]:
    """The sum, over `count` samples, of curves given as (index of their first sample, values): before its first a
    curve is nothing, after its last it stays."""
    sums = [0.0] * count
    for first, values in curves:
        for i in range(first, count) if values else ():
            sums[i] += values[min(i - first, len(values) - 1)]
    return sums
