"""Everybody comes back at once, in time that is only counted: gateways that decide as `agent.uplink.window` does,
one queue, and a collector that paces as ours does (`collector.ingest.backpressure`).

What `python -m bench storm` plays with real sessions for a quarter of an hour, this plays in seconds, so that the rules
can be tried, and broken. A gateway stands for forty: a message takes forty times as long as on a real machine.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.spool.record import Group, Head, build
from agent.uplink.inflight import InFlightBatches
from agent.uplink.window import Flow, Send, Wait, next_step
from collector.ingest.backpressure import Backpressure

LIVE_S, BACKLOG_S, AGAIN_S = 0.16, 0.28, 0.1  # of a message, by what is in it; AGAIN_S: it is held already
GATHERED = 5  # messages in one commit at most
COME_S, ROUND_S = 5.0, 60.0


@dataclass
class Returning:
    """A gateway: its groups not yet sent, those on their way, and when each of its live groups was measured."""

    fresh: list[Group] = field(default_factory=list)
    backlog: list[Group] = field(default_factory=list)
    flights: InFlightBatches = field(default_factory=InFlightBatches)
    measured_s: dict[int, float] = field(default_factory=dict)
    held: set[int] = field(default_factory=set)
    looks_s: float = float("inf")  # when it looks again by itself
    head: Head = field(default_factory=lambda: Head("a" * 32))

    def group(self) -> Group:
        (made,) = build(self.head, [b"{}"], "low", 0)
        self.head = self.head.after(made)
        return made


class Outage:
    """`play` until all backlog is held or `most_s` have passed. Rules are passed in, so that others can be tried."""

    def __init__(self, gateways: int, backlog: int, *, flow: Flow | None = None, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._pacing = Backpressure()
        self._all = [Returning(flights=InFlightBatches(flow)) for _ in range(gateways)]
        self._queue: deque[tuple[float, Returning, tuple[Group, ...]]] = deque()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._ticket = itertools.count()
        self._busy = False
        self._left = gateways * backlog
        self.lags_s: list[float] = []
        self.drained_s: float | None = None
        self.sent = self.again = 0
        for item in self._all:
            item.backlog = [item.group() for _ in range(backlog)]
            come_s = self._chance.uniform(0, COME_S)
            self._at(come_s, lambda now_s, item=item: self._measure(item, now_s))
            round_s = come_s + self._chance.uniform(0, ROUND_S)  # each has a minute of its own
            self._at(round_s, lambda now_s, item=item: self._rounds(item, now_s))

    def play(self, most_s: float) -> None:
        while self._events and self.drained_s is None and self._events[0][0] < most_s:
            now_s, _, work = heapq.heappop(self._events)
            work(now_s)
        self.lags_s.sort()

    def _at(self, when_s: float, work: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._ticket), work))

    def _rounds(self, gateway: Returning, now_s: float) -> None:
        self._at(now_s + ROUND_S, lambda later_s: self._rounds(gateway, later_s))
        self._measure(gateway, now_s)

    def _measure(self, gateway: Returning, now_s: float) -> None:
        group = gateway.group()
        gateway.fresh.append(group)
        gateway.measured_s[group.last_seq] = now_s
        self._send(gateway, now_s)

    def _send(self, gateway: Returning, now_s: float) -> None:
        """As `agent.uplink.session` does: what is overdue is offered again, then whatever may go."""
        for flight in gateway.flights.overdue(now_s):
            (gateway.fresh if flight.live else gateway.backlog)[:0] = flight.groups
        while isinstance(step := self._step(gateway, now_s), Send):
            del (gateway.backlog if step.reason == "backlog" else gateway.fresh)[: len(step.groups)]
            flight = gateway.flights.sent(step, now_s)
            self.sent, self.again = self.sent + 1, self.again + (flight.tries > 0)
            self._queue.append((now_s, gateway, step.groups))
            self._serve(now_s)
        if step.until_s is not None and not now_s < gateway.looks_s <= step.until_s:
            gateway.looks_s = max(step.until_s, now_s + 0.01)
            self._at(gateway.looks_s, lambda later_s: self._send(gateway, later_s))

    @staticmethod
    def _step(gateway: Returning, now_s: float) -> Send | Wait:
        return next_step(gateway.flights.flow, list(gateway.flights), gateway.fresh, gateway.backlog[:1], now_s)

    def _serve(self, now_s: float) -> None:
        if self._busy or not self._queue:
            return
        self._busy = True
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), GATHERED))]
        spent_s = sum(self._cost_s(gateway, groups) for _, gateway, groups in taken)
        self._pacing.heard([str(id(gateway)) for _, gateway, _ in taken], now_s)
        pace_s = self._pacing.pace_ms(now_s - taken[0][0]) / 1000
        self._pacing.took(len(taken), spent_s)
        self._at(now_s + spent_s, lambda later_s: self._receipted(taken, pace_s, later_s))

    @staticmethod
    def _cost_s(gateway: Returning, groups: tuple[Group, ...]) -> float:
        if groups[-1].last_seq in gateway.held:
            return AGAIN_S
        return LIVE_S if groups[-1].last_seq in gateway.measured_s else BACKLOG_S

    def _receipted(self, taken: list[tuple[float, Returning, tuple[Group, ...]]], pace_s: float, now_s: float) -> None:
        self._busy = False
        for _, gateway, groups in taken:
            for group in (group for group in groups if group.last_seq not in gateway.held):
                gateway.held.add(group.last_seq)
                if group.last_seq in gateway.measured_s:
                    self.lags_s.append(now_s - gateway.measured_s[group.last_seq])
                else:
                    self._left -= 1
            key = (groups[0].spool, groups[0].first_seq, groups[-1].last_seq)
            if (flight := gateway.flights.receipted(key, pace_s, now_s)) is not None:
                gateway.flights.done(flight)
            gateway.fresh = [group for group in gateway.fresh if group.last_seq not in gateway.held]
            gateway.backlog = [group for group in gateway.backlog if group.last_seq not in gateway.held]
            self._send(gateway, now_s)
        if not self._left:
            self.drained_s = now_s
        self._serve(now_s)
