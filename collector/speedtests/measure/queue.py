"""The queue of a server that is full: first come, first served, bounded, and each told its place."""

from __future__ import annotations

from collections import OrderedDict

from agent.common.tcp.http_server import HttpRefused
from collector.speedtests.measure.limits import Limits


class TestQueue:
    """Tests that may not begin yet, in the order they came. Clients keep their place by asking again in time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._line: OrderedDict[str, tuple[str, float]] = OrderedDict()  # test -> (who asks, when last)

    def __len__(self) -> int:
        return len(self._line)

    def pass_or_wait(self, test: str, who: str, free: int, now: float) -> None:
        """Returns when `test` may begin, as there are more `free` places than tests ahead of it. Raises HttpRefused
        with its place otherwise, or without one when the queue is full. `now` is in seconds of a monotonic clock."""
        self._leave_unheard(now)
        ahead = list(self._line).index(test) if test in self._line else len(self._line)
        if ahead < free:
            self._line.pop(test, None)
            return
        if test not in self._line:
            self._has_room(who)
        self._line[test] = (who, now)
        why = f"queued: this server runs all the tests it can; this one is number {ahead + 1} in the queue"
        raise HttpRefused(503, why, self._limits.retry_after_s, ahead + 1)

    def _has_room(self, who: str) -> None:
        limits = self._limits
        mine = sum(address == who for address, _ in self._line.values())
        if len(self._line) >= limits.waiting or mine >= limits.waiting_per_address:
            why = f"queue_full: this server runs all the tests it can and {len(self._line)} more wait; come later"
            raise HttpRefused(503, why, 4 * limits.retry_after_s)

    def _leave_unheard(self, now: float) -> None:
        for test, (_, heard) in list(self._line.items()):
            if heard < now - self._limits.waiting_s:
                del self._line[test]
