"""Speed tests that the collector draws: when each is due, only the collector knows until it grants it. Pure.

Each slot of each center's day has one test, at a moment drawn from a secret; in some slots a second one follows, so
that nobody is safe after the first. A center that was dark at its moment gets another in what is left of the slot.
No figure here is official.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.common.center_time import CENTER_TIME, slot_minutes

MINUTE_MS = 60_000
OPEN_MS = 5 * MINUTE_MS  # after its moment a test may be granted for so long
TAIL_SHARE = 0.8  # of a slot: moments lie before, so that a test without a grant can still follow on the gateway
MOMENTS = 4  # that a slot has for its test
SECOND_SHARE = 0.15  # of the slots have a second test
PREFIX = "drawn-"  # of the names of such tests


@dataclass(frozen=True)
class DaySlot:
    """A part of one day, in milliseconds UTC; `name` is that of the gateway's own slot of the same hours."""

    name: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True)
class DrawnTest:
    """A test that is due now."""

    test_id: str
    center: str
    slot: str


def slots_of(now_ms: int, slots: Sequence[str]) -> list[DaySlot]:
    """Today's slots by the centers' clock; each is HH:MM-HH:MM."""
    local = datetime.fromtimestamp(now_ms / 1000, CENTER_TIME)
    midnight = datetime(local.year, local.month, local.day, tzinfo=CENTER_TIME).astimezone(UTC)
    start_ms = round(midnight.timestamp() * 1000)
    return [
        DaySlot(f"{local:%Y-%m-%d} {slot}", *(start_ms + minute * MINUTE_MS for minute in slot_minutes(slot)))
        for slot in slots
    ]


def due(secret: bytes, centers: Iterable[str], slots: Sequence[DaySlot], now_ms: int) -> Iterator[DrawnTest]:
    """The tests of these centers that may be granted now, whether they have been or not."""
    running = [slot for slot in slots if slot.from_ms <= now_ms < slot.to_ms]
    for slot in running:
        for center in centers:
            for number in range(2):
                moments = _moments(secret, center, slot, number)
                if any(at_ms <= now_ms < at_ms + OPEN_MS for at_ms in moments):
                    yield DrawnTest(_name(secret, center, slot, number), center, slot.name)


def _moments(secret: bytes, center: str, slot: DaySlot, number: int) -> list[int]:
    """Of the first or second test of a slot, ascending: each is drawn in what the one before has left."""
    if number and share(secret, center, slot.name, "second") >= SECOND_SHARE:
        return []
    at_ms, end_ms = float(slot.from_ms), slot.from_ms + (slot.to_ms - slot.from_ms) * TAIL_SHARE
    moments = []
    for step in range(MOMENTS):
        at_ms += (end_ms - at_ms) * share(secret, center, slot.name, f"{number} {step}")
        moments.append(round(at_ms))
    return moments


def _name(secret: bytes, center: str, slot: DaySlot, number: int) -> str:
    return PREFIX + _digest(secret, center, slot.name, f"name {number}").hex()[:32]


def share(secret: bytes, *words: str) -> float:
    """From 0 to 1, drawn by the secret: the same for the same words."""
    return int.from_bytes(_digest(secret, *words)[:8], "big") / 2**64


def _digest(secret: bytes, *words: str) -> bytes:
    return hmac.digest(secret, "\0".join(words).encode(), "sha256")


def moment(at_ms: int) -> str:
    """UTC, to the minute (ISO 8601)."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
