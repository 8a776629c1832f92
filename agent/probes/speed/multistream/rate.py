"""From counters to a rate. Pure: times in seconds, amounts in bytes, rates in Mbit/s."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MIN_BINS = 5
SAME = 0.03


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


def total(curves: Iterable[tuple[int, Sequence[float]]], count: int) -> list[float]:
    """The sum, over `count` samples, of curves given as (index of their first sample, values): before its first a
    curve is nothing, after its last it stays."""
    sums = [0.0] * count
    for first, values in curves:
        for i in range(first, count) if values else ():
            sums[i] += values[min(i - first, len(values) - 1)]
    return sums
