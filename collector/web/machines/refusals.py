"""How often each token, key and address was refused lately. Whoever holds what is good pays for nobody else.

A key and a token are counted once they are proven: only who holds one can be slowed by it. What proves nothing is
counted by address (IPv6: one /64), and costs its sender alone: a good token from the same address, of which a carrier
may have thousands of customers behind it, is looked at all the same.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection

LIMIT, WINDOW_MS, MAX_NAMES = 20, 60_000, 10_000


class Refusals:
    """By name, each at most LIMIT times in WINDOW_MS; the longest quiet names are forgotten. Any thread."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms, self._lock = now_ms, threading.Lock()
        self._times: OrderedDict[str, deque[int]] = OrderedDict()

    def is_over(self, names: Collection[str]) -> bool:
        """Whether one of them was refused so often that it has to wait."""
        after_ms = self._now_ms() - WINDOW_MS
        with self._lock:
            return any(sum(at_ms > after_ms for at_ms in self._times.get(name, ())) >= LIMIT for name in names)

    def add(self, names: Collection[str]) -> None:
        with self._lock:
            for name in names:
                self._times.setdefault(name, deque(maxlen=LIMIT)).append(self._now_ms())
                self._times.move_to_end(name)
            while len(self._times) > MAX_NAMES:
                self._times.popitem(last=False)
