"""The time of a reading, by this machine's clocks."""

from __future__ import annotations

import time
from collections.abc import Callable

from agent import wire
from agent.probes import boot
from agent.probes.gateway import ClockState


def stamper(kernel: Callable[[], ClockState]) -> Callable[[], wire.Stamp]:
    """Dates readings by this machine's clocks; ``kernel`` says whether the wall clock is synchronised."""
    this_boot = boot.boot_id()[:8]

    def stamp() -> wire.Stamp:
        return wire.Stamp(
            wall_ms=time.time_ns() // 1_000_000,
            mono_ms=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
            boot=this_boot,
            clock=kernel().quality,
        )

    return stamp
