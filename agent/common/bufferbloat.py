"""What a full line does to everybody else's round trips, as a grade. Pure.

The scale is DSLReports' ("Bufferbloat Grades", dslreports.com/faq/17930), which other public tests took over. It is no
official standard and no criterion; it tells people what milliseconds mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.wire import SpeedReading

Grade = Literal["A+", "A", "B", "C", "D", "F"]
BELOW_MS: tuple[tuple[float, Grade], ...] = ((5, "A+"), (30, "A"), (60, "B"), (200, "C"), (400, "D"))


@dataclass(frozen=True)
class Bloat:
    """By how much the load lifted the median round trip, milliseconds; the grade is that of both ways' mean."""

    grade: Grade
    down_ms: float | None
    up_ms: float | None


def bloat(reading: SpeedReading) -> Bloat | None:
    """None where the line was never full, for then nothing queued; or where round trips are not known."""
    down = _rise(reading.idle_rtt_ms, reading.loaded_rtt_down_ms)
    up = _rise(reading.idle_rtt_ms, reading.loaded_rtt_up_ms)
    known = [item for item in (down, up) if item is not None]
    if not known or "not_saturated" in reading.flags:
        return None
    mean = sum(known) / len(known)
    grade: Grade = next((grade for below, grade in BELOW_MS if mean < below), "F")
    return Bloat(grade, down, up)


def _rise(idle_ms: float | None, loaded_ms: float | None) -> float | None:
    return None if idle_ms is None or loaded_ms is None else max(0.0, loaded_ms - idle_ms)
