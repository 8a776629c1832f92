"""One PC on the roll calls of two centers: seats that are paid twice, or a copied identity.

A PC that moved stands on its old center's roll call as missing, so only seats that both centers call present now count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason, decode, encode
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


def look(conn: sa.Connection, now_ms: int) -> int:
    """Writes a finding for each pair of centers not named within a day; returns how many."""
    query = sa.select(_l.center, _l.device, _l.body).where(_l.kind == "seats", _l.received_ms > now_ms - FRESH_MS)
    pairs = shared(call for row in conn.execute(query) if (call := _roll_call(row.center, row.device, row.body)))
    named = sa.select(_i.center, _i.detail).where(_i.finding == FINDING, _i.at_ms > now_ms - REPEAT_MS)
    known = {(row.center, decode(row.detail).params.get("center")) for row in conn.execute(named)}
    rows = [_row(item, now_ms) for item in pairs if (item.center, item.other) not in known]
    if rows:
        conn.execute(sa.insert(schema.integrity), rows)
    return len(rows)


def _row(pair: SharedSeats, now_ms: int) -> Mapping[str, object]:
    seats: Sequence[str] = pair.seats[:LISTED]
    detail = Reason.of("finding.seats_elsewhere", n=len(pair.seats), seats=list(seats), center=pair.other)
    return {
        "at_ms": now_ms, "center": pair.center, "device": pair.device, "finding": FINDING, "detail": encode(detail),
    }  # fmt: skip


def _roll_call(center: str, device: str, body: str) -> SeatsSeen | None:
    try:
        reading = wire.decode_reading(body.encode())
    except (wire.WireError, msgspec.MsgspecError):
        return None
    if not isinstance(reading, wire.SeatsReading) or reading.seats is None:
        return None
    present = (id for id, state in zip(reading.seats.id, reading.seats.state, strict=False) if state in PRESENT)
    return SeatsSeen(center=center, device=device, seats=frozenset(present))
