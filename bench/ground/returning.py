"""A gateway that comes back with hours of backlog: what it missed, a few readings of it at a time, and its session."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from agent import wire
from agent.uplink.endpoints import Endpoints
from agent.uplink.inflight import InFlightBatches
from bench.ground.session import Session
from bench.ground.whole import Member
from collector.commands.simulation import readings
from collector.commands.simulation.fleet import SimulatedCenter
from collector.commands.simulation.gateway import Gateway, PendingReading
from collector.commands.simulation.readings import MINUTE_MS

AHEAD = 200  # readings of the backlog that a gateway has in hand
MARK = 120  # readings between two marks of a chain
TAIL_ROUNDS = 3  # the newest of the backlog still count as live


def round_of(center: SimulatedCenter, at_ms: int, boot_ms: int) -> list[bytes]:
    """What is measured in a quiet minute."""
    dice = random.Random(f"{center.code}:{at_ms // MINUTE_MS}")
    made = [
        readings.link(center, at_ms, dice, offline=False, slow=False),
        readings.gateway(at_ms, dice, boot_ms),
        readings.ups(center, at_ms, dice, None),
        readings.seats(center, dice, is_open=True, broken=None),
    ]
    at = readings.stamp(center, at_ms, boot_ms, 0)
    return [wire.encode_reading(msgspec.structs.replace(item, at=at)) for item in made]


@dataclass(frozen=True)
class Missed:
    """The rounds missed by every gateway of one size: (at_ms, reading), oldest first."""

    of: Sequence[tuple[int, bytes]]

    @classmethod
    def by(cls, center: SimulatedCenter, rounds: int, until_ms: int) -> Missed:
        boot_ms = until_ms - (rounds + 60) * MINUTE_MS
        times = [until_ms - back * MINUTE_MS for back in range(rounds, 0, -1)]
        return cls([(at_ms, raw) for at_ms in times for raw in round_of(center, at_ms, boot_ms)])


class Backlog:
    """A gateway's missed readings, given out a few at a time; its chain is marked now and then, not kept whole."""

    def __init__(self, missed: Missed, gateway: Gateway) -> None:
        self._of = missed.of
        self._marks: list[bytes] = []
        chain = gateway.chain
        for begin in range(0, len(self._of), MARK):
            self._marks.append(chain)
            chain = wire.chain(chain, [raw for _, raw in self._of[begin : begin + MARK]])
        gateway.chain, gateway.next_seq = chain, len(self._of) + 1
        tail = min(len(self._of), TAIL_ROUNDS * 4)
        self._given, self._end = 0, len(self._of) - tail
        gateway.waiting = self._some(self._end, len(self._of))

    @property
    def newest(self) -> int:
        """The number of the last round's first reading."""
        return len(self._of) - 3

    @property
    def left(self) -> int:
        return self._end - self._given

    def fill(self, gateway: Gateway) -> None:
        """The gateway has the next of it in hand again, ahead of whatever is newer."""
        older = [kept for kept in gateway.waiting if kept.seq <= self._end]
        if self.left and len(older) < AHEAD:
            more = self._some(self._given, min(self._end, self._given + AHEAD))
            self._given += len(more)
            gateway.waiting = older + more + [kept for kept in gateway.waiting if kept.seq > self._end]

    def _some(self, begin: int, end: int) -> list[PendingReading]:
        mark = begin // MARK
        chain = wire.chain(self._marks[mark], [raw for _, raw in self._of[mark * MARK : begin]]) if self._of else b""
        found = []
        for index in range(begin, end):
            at_ms, raw = self._of[index]
            found.append(PendingReading(index + 1, at_ms, raw, chain))
            chain = wire.chain(chain, [raw])
        return found


@dataclass(kw_only=True)
class Returning:
    """Times are monotonic seconds; `live` has when each live reading that waits was measured."""

    member: Member
    backlog: Backlog
    session: Session | None = None
    measured_s: float = 0.0  # the next round
    tried: int = 0
    refused: int = 0
    connect_s: list[float] = field(default_factory=list)
    since_s: float | None = None  # the present session's begin
    first_s: float | None = None
    seen_s: float | None = None  # its newest state had a receipt, for the first time
    drained_s: float | None = None
    live: dict[int, float] = field(default_factory=dict)
    lags_s: list[float] = field(default_factory=list)
    packs: bool = False  # a receipt of this session has said that the collector reads packed batches
    flights: InFlightBatches = field(default_factory=InFlightBatches)
    brokers: Endpoints
    proven: bool = False  # the collector answered in the present session
    was_lost: bool = False  # its session was at the broker that was lost
    again_s: float | None = None  # the first that was measured after that waited so long for its receipt

    @property
    def gateway(self) -> Gateway:
        return self.member.gateway

    @property
    def has_news(self) -> bool:
        """Whether the newest reading is neither on its way nor receipted."""
        newest = self.gateway.next_seq - 1
        waits = bool(self.gateway.waiting) and self.gateway.waiting[-1].seq == newest
        return waits and all(flight.key[2] < newest for flight in self.flights)

    @property
    def silent_s(self) -> float:
        """How long its broker has not answered what was sent."""
        since_s = None if self.session is None else self.session.unanswered_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    @property
    def backlogged(self) -> int:
        waiting = sum(1 for kept in self.gateway.waiting if kept.seq not in self.live)
        return self.backlog.left + waiting
