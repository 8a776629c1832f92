"""How long a gateway with a backlog should pause between two of its batches, and how many of one gateway's messages may
wait here. Pure: one monotonic clock, seconds.

When thousands come back at once, each with one batch in flight, the wait here is their number times what one takes.
Past the time a gateway waits for a receipt (`agent.uplink.window`) each would send again what is still in the queue,
and the queue would grow by that alone. A pause of number times time keeps the queue short for any set of gateways; it
is requested for in the measure in which there is a queue, so that one gateway after a quiet night drains at full speed.
Where live readings alone take most of the time, the queue requests several rounds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable

WAIT_S = 4.0  # what a message may wait here before its sender gets the pause of one round
WINDOW_S = 60.0  # senders in the present or the last of these are counted
MOST_TURNS = 3.0  # for three times that wait
SMOOTH = 0.2  # the weight of the newest group in what a message takes
MAX_PACE_MS = 300_000

# Of one sender. A gateway has four batches in flight (agent.uplink.window), and in need a few more.
MANY_WAITING = 25
FLOOD, FLOOD_S = 200, 60.0  # so many dropped within so long are a flood


class Backpressure:
    def __init__(self) -> None:
        self._each_s = 0.0
        self._heard: set[str] = set()
        self._before = 0
        self._turned_s = 0.0

    def heard(self, senders: Collection[str], now_s: float) -> None:
        """Messages came to hand, of these senders."""
        if now_s - self._turned_s >= WINDOW_S:
            self._before = len(self._heard) if now_s - self._turned_s < 2 * WINDOW_S else 0
            self._heard, self._turned_s = set(), now_s
        self._heard.update(senders)

    def took(self, messages: int, seconds: float) -> None:
        """So many messages were taken together, and that took so long."""
        each_s = seconds / messages
        self._each_s += (each_s - self._each_s) * (SMOOTH if self._each_s else 1.0)

    def pace_ms(self, waited_s: float) -> int:
        """The pause to request, when the oldest message in hand has waited so long."""
        senders = max(self._before, len(self._heard))
        pause_s = senders * self._each_s * min(MOST_TURNS, waited_s / WAIT_S)
        return min(MAX_PACE_MS, int(pause_s * 1000))


class Shares:
    """How many messages of each sender wait here. One that has many, and at least twice what each other one has on
    average, keeps nobody out: what more comes of it is dropped, as gateways send again what has no receipt. Any
    thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._since_s = 0.0
        self._floods: set[str] = set()
        self._has_news = False

    def admits(self, sender: str, now_s: float) -> bool:
        """Whether one more of this sender may wait; it is counted then."""
        with self._lock:
            own = self._waiting[sender]
            if own >= MANY_WAITING and own * (len(self._waiting) - 1) >= 2 * (self._waiting.total() - own):
                self._drop(sender, now_s)
                return False
            self._waiting[sender] += 1
            return True

    def taken(self, senders: Iterable[str]) -> None:
        """These wait no more."""
        with self._lock:
            self._waiting.subtract(senders)
            self._waiting = +self._waiting

    def floods(self) -> frozenset[str]:
        """Who flooded since the last call."""
        with self._lock:
            floods, self._floods = frozenset(self._floods), set()
            return floods

    def has_news(self) -> bool:
        """Whether another flood was noticed since the last call."""
        news, self._has_news = self._has_news, False
        return news

    def _drop(self, sender: str, now_s: float) -> None:
        if now_s - self._since_s >= FLOOD_S:
            self._dropped.clear()
            self._since_s = now_s
        self._dropped[sender] += 1
        if self._dropped[sender] % FLOOD == 0:
            self._floods.add(sender)
            self._has_news = True
