"""One PC on the roll calls of two centers: seats that are paid twice, or a copied identity.

A PC that moved stands on its old center's roll call as missing, so only seats that both centers call present now count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason, decode
from collector.judging.place_facts import FoundRow
from collector.store import schema

FRESH_MS = 3_600_000  # a roll call older than this says nothing of now
REPEAT_MS = 86_400_000  # the same pair of centers is named once a day
LISTED = 5  # seats that a finding names
FINDING = "shared_seat"
PRESENT = ("healthy", "unhealthy")

_l, _i = schema.latest.c, schema.integrity.c


@dataclass(frozen=True, kw_only=True)
class SeatsSeen:
    """The seats that one center's gateway says are present."""

    center: str
    device: str
    seats: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class SharedSeats:
    """The seats that `center` calls present while `other` does so, too."""

    center: str
    device: str
    other: str
    seats: tuple[str, ...]


def shared(calls: Iterable[SeatsSeen]) -> list[SharedSeats]:
    """Pure. For each center and each other center with which it has seats in common."""
    calls = list(calls)
    homes: dict[str, set[str]] = defaultdict(set)
    for call in calls:
        for seat in call.seats:
            homes[seat].add(call.center)
    by_pair: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for call in calls:
        for seat in call.seats:
            for other in homes[seat] - {call.center}:
                by_pair[call.center, call.device, other].add(seat)
    return [
        SharedSeats(center=center, device=device, other=other, seats=tuple(sorted(seats)))
        for (center, device, other), seats in sorted(by_pair.items())
    ]


def findings(conn: sa.Connection, now_ms: int) -> list[FoundRow]:
    """Of each pair of centers that was not named within a day."""
    query = sa.select(_l.center, _l.device, _l.body).where(_l.kind == "seats", _l.received_ms > now_ms - FRESH_MS)
    pairs = shared(call for row in conn.execute(query) if (call := _roll_call(row.center, row.device, row.body)))
    named = sa.select(_i.center, _i.detail).where(_i.finding == FINDING, _i.at_ms > now_ms - REPEAT_MS)
    known = {(row.center, decode(row.detail).params.get("center")) for row in conn.execute(named)}
    return [
        (pair.center, pair.device, FINDING, _detail(pair)) for pair in pairs if (pair.center, pair.other) not in known
    ]


def _detail(pair: SharedSeats) -> Reason:
    seats = list(pair.seats[:LISTED])
    return Reason.of("finding.seats_elsewhere", n=len(pair.seats), seats=seats, center=pair.other)


def _roll_call(center: str, device: str, body: str) -> SeatsSeen | None:
    try:
        reading = wire.decode_reading(body.encode())
    except (wire.WireError, msgspec.MsgspecError):
        return None
    if not isinstance(reading, wire.SeatsReading) or reading.seats is None:
        return None
    present = (id for id, state in zip(reading.seats.id, reading.seats.state, strict=False) if state in PRESENT)
    return SeatsSeen(center=center, device=device, seats=frozenset(present))
