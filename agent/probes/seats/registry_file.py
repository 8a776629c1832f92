"""What must outlive a restart of the roll, in one small file, and the orders that people give about it.

The roll belongs to the running agent. `nabz-agent seats` does not write into it: it leaves an order in the same folder,
which only the agent's own account (and root) may enter, and the agent takes it up at its next round or its next start.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from agent.common.files import write_atomically
from agent.common.reasons import Reason
from agent.probes.parts import SeatParts, parts_of
from agent.seat.snapshot import NAME_SIGNS, Snapshot

FILE = "seats.json"
ORDERS = "seats-order-*.json"
MAX_ROWS = 1000
MAX_ORDER_BYTES = 4096

Do = Literal["approve", "accept", "forget", "rename"]


@dataclass(frozen=True, kw_only=True)
class SeatRecord:
    """One seat. Times are the caller's monotonic milliseconds (None: not in this run of the agent) but for `since_ms`,
    its own wall clock when first heard.

    `given` is the name people gave it here, `name` what it calls itself. `key` is its own, once it has used it;
    `offered` is agreed but not used yet. `accepted` is what it is made of. `answers` says whether its machine answered
    the network while it was silent; `intruder_ms` when somebody last spoke for it under the center's key alone.
    """

    id: str
    name: str
    facts: tuple[str, ...]
    said_goodbye: bool = False
    last: Snapshot | None = None
    heard_ms: int | None = None
    conflict_ms: int | None = None  # when another machine last spoke under this id
    given: str = ""
    approved: bool = True
    since_ms: int = 0
    accepted: SeatParts | None = None
    key: bytes | None = None
    offered: bytes | None = None
    address: str = ""
    answers: bool | None = None
    intruder_ms: int | None = None
    back_ms: int | None = None  # when it last came back from a silence
    back: Reason | None = None  # and what that silence was

    @property
    def called(self) -> str:
        return self.given or self.name


@dataclass(frozen=True, kw_only=True)
class Order:
    """One wish of the people who run the center, about one seat."""

    do: Do
    seat: str
    name: str = ""


# ---------------------------------------------------------------- rows


def durable(seat: SeatRecord) -> tuple[object, ...]:
    """What is worth a write when it changes."""
    return (seat.name, seat.given, seat.facts, seat.said_goodbye, seat.approved, seat.key, seat.accepted)


def load(folder: Path | None) -> dict[str, SeatRecord]:
    """What an earlier run knew. A file that cannot be read is an empty roll: seats are learned again in a minute."""
    try:
        rows = json.loads((folder / FILE).read_bytes()) if folder else []
        seats = [_seat(row) for row in rows[:MAX_ROWS]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return {seat.id: seat for seat in seats}


def save(folder: Path, seats: Iterable[SeatRecord]) -> None:
    """Old or new, never half; for the agent's account alone: it holds keys. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE, json.dumps([_row(seat) for seat in seats]).encode())


def _row(seat: SeatRecord) -> dict[str, object]:
    parts = seat.accepted
    return {
        "id": seat.id, "name": seat.name, "facts": seat.facts, "off": seat.said_goodbye, "given": seat.given,
        "approved": seat.approved, "since_ms": seat.since_ms, "address": seat.address,
        "key": seat.key.hex() if seat.key else "",
        "parts": {"memory_mb": parts.memory_mb, "drives": dict(parts.drives)} if parts else None,
    }  # fmt: skip


def _seat(row: Mapping[str, object]) -> SeatRecord:
    """Rows of an earlier version have no word on approval: who was on the roll then stays on it."""
    facts, key = row["facts"], str(row.get("key", ""))
    if not isinstance(facts, list):
        raise ValueError("facts must be a list")
    return SeatRecord(
        id=str(row["id"]),
        name=str(row["name"]),
        facts=tuple(map(str, facts)),
        said_goodbye=row["off"] is True,
        given=str(row.get("given", "")),
        approved=row.get("approved", True) is True,
        since_ms=int(str(row.get("since_ms", 0))),
        address=str(row.get("address", "")),
        key=bytes.fromhex(key) or None,
        accepted=_parts(row.get("parts")),
    )


def _parts(value: object) -> SeatParts | None:
    if not isinstance(value, dict):
        return None
    memory, drives = value.get("memory_mb"), value.get("drives")
    return SeatParts(
        memory_mb=float(memory) if isinstance(memory, int | float) else None,
        drives={str(drive): float(size) for drive, size in drives.items()} if isinstance(drives, dict) else {},
    )


# ---------------------------------------------------------------- orders


def give(folder: Path, order: Order) -> None:
    """Leaves an order where only the agent's account and root can; it belongs to the agent then. Raises OSError."""
    path = folder / ORDERS.replace("*", secrets.token_hex(8))
    fresh = path.with_suffix(".new")
    write_atomically(fresh, json.dumps({"do": order.do, "seat": order.seat, "name": order.name}).encode())
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(fresh, owner.st_uid, owner.st_gid)
    fresh.replace(path)


def waiting(folder: Path | None) -> list[tuple[Path, Order | None]]:
    """The orders not yet taken up, oldest first; None for a file that holds none."""
    paths = sorted(folder.glob(ORDERS), key=lambda path: (_modified_ns(path), path.name)) if folder else []
    return [(path, _order(path)) for path in paths]


def _modified_ns(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _order(path: Path) -> Order | None:
    try:
        with path.open("rb") as file:
            fields = json.loads(file.read(MAX_ORDER_BYTES))
        order = Order(do=fields["do"], seat=str(fields["seat"]), name=str(fields["name"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return order if order.do in get_args(Do) and is_name(order.name) else None


def is_name(name: str) -> bool:
    return len(name) <= 32 and NAME_SIGNS.issuperset(name)


def obeyed(seats: Mapping[str, SeatRecord], order: Order) -> dict[str, SeatRecord]:
    """Pure. The roll after one order; an order about a seat that is not on it changes nothing.

    Approval also lets a seat in anew whose own key was lost, as when its system was installed again.
    """
    seat = seats.get(order.seat)
    if seat is None:
        return dict(seats)
    if order.do == "forget":
        return {id_: record for id_, record in seats.items() if id_ != order.seat}
    changed = {
        "approve": replace(seat, approved=True, key=None, offered=None, intruder_ms=None),
        "accept": replace(seat, accepted=parts_of(seat.last) if seat.last else None),
        "rename": replace(seat, given=order.name),
    }[order.do]
    return {**seats, seat.id: changed}
