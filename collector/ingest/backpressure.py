"""How long a gateway with a backlog should pause between two of its batches. Pure: one monotonic clock, seconds.

When thousands come back at once, each with one batch in flight, the wait here is their number times what one takes.
Past the time a gateway waits for a receipt (`agent.uplink.window`) each would send again what is still in the queue,
and the queue would grow by that alone. A pause of number times time keeps the queue short for any set of gateways; it
is requested for in the measure in which there is a queue, so that one gateway after a quiet night drains at full speed.
Where live readings alone take most of the time, the queue requests several rounds."""

from __future__ import annotations

from collections.abc import Collection

WAIT_S = 4.0  # what a message may wait here before its sender gets the pause of one round
WINDOW_S = 60.0  # senders in the present or the last of these are counted
MOST_TURNS = 3.0  # for three times that wait
SMOOTH = 0.2  # the weight of the newest group in what a message takes
MAX_PACE_MS = 300_000


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
