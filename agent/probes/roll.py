"""The roll of a center's seats: who is known, what each last said, and what that makes it now.

Held in memory. What must outlive a restart (names, hardware, who said good-bye) goes to one small file, and only when
it changed: a gateway's flash is not for heartbeats.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from agent.config import Seats
from agent.seat.identity import same_machine
from agent.seat.snapshot import Snapshot
from agent.wire import SeatColumns, SeatsReading

MAX_SEATS = 500  # the wire's limit for one roll call
SAVE_EVERY_MS = 60_000  # good-byes may come in waves; new seats are written at once
CONFLICT_MS = 15 * 60_000

State = Literal["healthy", "unhealthy", "missing", "off"]


class RollFull(Exception):
    """More seats than a roll can hold: a new one is not taken."""


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One seat. Times are the caller's monotonic milliseconds; None: not in this run of the agent."""

    id: str
    name: str
    facts: tuple[str, ...]
    said_goodbye: bool = False
    last: Snapshot | None = None
    heard_ms: int | None = None
    conflict_ms: int | None = None  # when another machine last spoke under this id


class Roll:
    """All seats ever heard at this gateway. Every `now_ms` must come from one monotonic clock."""

    def __init__(self, state_dir: Path | None, now_ms: int = 0) -> None:
        self.path = state_dir / "seats.json" if state_dir else None
        self.seats = _load(self.path)
        self.started_ms = now_ms
        self.saved_ms: int | None = None
        self.unsaved = False

    def take(self, snapshot: Snapshot, now_ms: int) -> None:
        """Enters what a seat said. Raises RollFull; a roll that cannot be written is kept in memory all the same."""
        before = self.seats.get(snapshot.id)
        if before is None and len(self.seats) >= MAX_SEATS:
            raise RollFull(f"this gateway's roll holds {MAX_SEATS} seats and takes no more")
        seat = enter(before, snapshot, now_ms)
        self.seats[seat.id] = seat
        is_new = before is None or before.name != seat.name
        self.unsaved |= is_new or (before is not None and _durable(before) != _durable(seat))
        self.save(now_ms, at_once=is_new)

    def call(self, now_ms: int, limits: Seats) -> SeatsReading | None:
        """Every seat's state now. None while seats known from before still have time to report after a start."""
        self.save(now_ms)
        if self.is_settling(now_ms, limits):
            return None
        return roll_call(list(self.seats.values()), now_ms, self.started_ms, limits)

    def is_settling(self, now_ms: int, limits: Seats) -> bool:
        """True while silence since the agent's start proves nothing yet."""
        if now_ms - self.started_ms > limits.missing_after_s * 1000:
            return False
        return any(seat.heard_ms is None and not seat.said_goodbye for seat in self.seats.values())

    def save(self, now_ms: int, *, at_once: bool = False) -> None:
        recently = self.saved_ms is not None and now_ms - self.saved_ms < SAVE_EVERY_MS
        if self.path is None or not self.unsaved or (recently and not at_once):
            return
        self.saved_ms = now_ms
        with contextlib.suppress(OSError):  # a full disk: tried again at the next call, a minute later
            _write(self.path, self.seats)
            self.unsaved = False


def enter(before: Seat | None, snapshot: Snapshot, now_ms: int) -> Seat:
    """The seat after it spoke. Another machine under the same id (a cloned identity) is noted as a conflict."""
    stopping = snapshot.state == "stopping"
    seat = Seat(
        id=snapshot.id, name=snapshot.name, facts=snapshot.facts, said_goodbye=stopping, last=snapshot, heard_ms=now_ms
    )
    if before is None:
        return seat
    other = bool(before.facts and snapshot.facts) and not same_machine(snapshot.facts, before.facts)
    return replace(seat, conflict_ms=now_ms if other else before.conflict_ms)


def roll_call(seats: list[Seat], now_ms: int, started_ms: int, limits: Seats) -> SeatsReading:
    """Pure. One column entry a seat, by label; `why` says in words what is wrong."""
    labels = label(seats)
    ordered = sorted(seats, key=lambda seat: labels[seat.id])
    judged = [judge_seat(seat, now_ms, started_ms, limits) for seat in ordered]
    count = Counter(state for state, _why in judged)
    shown = [
        seat.last if state in ("healthy", "unhealthy") else None
        for seat, (state, _) in zip(ordered, judged, strict=True)
    ]
    return SeatsReading(
        known=len(seats),
        healthy=count["healthy"],
        unhealthy=count["unhealthy"],
        missing=count["missing"],
        off=count["off"],
        seats=SeatColumns(
            id=[labels[seat.id] for seat in ordered],
            state=[state for state, _why in judged],
            why=[why[:200] for _state, why in judged],
            cpu_pct=[last.cpu_pct if last else None for last in shown],
            memory_pct=[last.memory_pct if last else None for last in shown],
            disk_pct=[last.disk_pct if last else None for last in shown],
            temperature_c=[last.temperature_c if last else None for last in shown],
            uptime_s=[last.uptime_s if last else None for last in shown],
        ),
    )


def label(seats: list[Seat]) -> dict[str, str]:
    """What each seat is called: the name the center gave it; its id where there is none or two share one."""
    times = Counter(seat.name for seat in seats)
    return {seat.id: seat.name if seat.name and times[seat.name] == 1 else seat.id for seat in seats}


def judge_seat(seat: Seat, now_ms: int, started_ms: int, limits: Seats) -> tuple[State, str]:
    """Pure. (state, why): *off* said good-bye, *missing* fell silent without it, *unhealthy* says what is wrong."""
    if seat.said_goodbye:
        return "off", "said it was shutting down"
    since_ms = seat.heard_ms if seat.heard_ms is not None else started_ms
    silent_s = (now_ms - since_ms) / 1000
    if silent_s > limits.missing_after_s or seat.last is None:
        ago = "silent for" if seat.heard_ms is not None else "not heard since the agent started,"
        return "missing", f"{ago} {silent_s:.0f} s"
    faults = faults_of(seat.last, limits)
    if seat.conflict_ms is not None and now_ms - seat.conflict_ms < CONFLICT_MS:
        faults.append("two machines report under this identity: one is a clone")
    return ("unhealthy", "; ".join(faults)) if faults else ("healthy", "")


def faults_of(snapshot: Snapshot, limits: Seats) -> list[str]:
    """Pure. One short sentence for every limit that is passed; unknown values pass none."""
    checks = (
        ("processor busy", snapshot.cpu_pct, limits.max_cpu_pct, "%"),
        ("memory full", snapshot.memory_pct, limits.max_memory_pct, "%"),
        ("disk full", snapshot.disk_pct, limits.max_disk_pct, "%"),
        ("too hot", snapshot.temperature_c, limits.max_temperature_c, " °C"),
    )
    return [
        f"{what}: {value:.0f}{unit}, limit {bound:g}{unit}"
        for what, value, bound, unit in checks
        if value is not None and value > bound
    ]


# ---------------------------------------------------------------- the small file


def _durable(seat: Seat) -> tuple[str, tuple[str, ...], bool]:
    return seat.name, seat.facts, seat.said_goodbye


def _load(path: Path | None) -> dict[str, Seat]:
    """What an earlier run knew. A file that cannot be read is an empty roll: seats are learned again in a minute."""
    try:
        rows = json.loads(path.read_bytes()) if path else []
        seats = [
            Seat(
                id=str(row["id"]),
                name=str(row["name"]),
                facts=tuple(map(str, row["facts"])),
                said_goodbye=row["off"] is True,
            )
            for row in rows[:MAX_SEATS]
        ]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}
    return {seat.id: seat for seat in seats}


def _write(path: Path, seats: dict[str, Seat]) -> None:
    rows = [
        {"id": seat.id, "name": seat.name, "facts": seat.facts, "off": seat.said_goodbye} for seat in seats.values()
    ]
    fresh = path.with_suffix(".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(rows, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
