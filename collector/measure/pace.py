"""How often an address may ask: a bucket of one second's worth."""

from __future__ import annotations

from collections import OrderedDict

MOST = 10_000  # addresses remembered; the one longest silent is forgotten


class Pace:
    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # who -> (left, when)

    def takes(self, who: str, now: float) -> bool:
        """Whether one more is within the pace. `now` is monotonic seconds."""
        left, since = self.buckets.pop(who, (self.rate, now))
        left = min(self.rate, left + (now - since) * self.rate)
        self.buckets[who] = (max(0.0, left - 1), now)
        if len(self.buckets) > MOST:
            self.buckets.popitem(last=False)
        return left >= 1
