"""How long this PC has slept since it was switched on: the clock that runs on while asleep, less the one that stops."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

Clock = Callable[[], float]


def slept_s(awake: Clock | None = None, since_boot: Clock | None = None) -> float | None:
    """Seconds asleep since boot; None where the system has not both clocks."""
    if awake is None or since_boot is None:
        clocks = _windows() if sys.platform == "win32" else _linux()
        if clocks is None:
            return None
        awake, since_boot = clocks
    return round(max(0.0, since_boot() - awake()), 1)


def _linux() -> tuple[Clock, Clock] | None:
    """CLOCK_MONOTONIC stops in suspend, CLOCK_BOOTTIME does not (clock_gettime(2))."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    if boot is None:
        return None
    return (lambda: time.clock_gettime(time.CLOCK_MONOTONIC)), (lambda: time.clock_gettime(boot))


def _windows() -> tuple[Clock, Clock] | None:
    """QueryUnbiasedInterruptTime (units of 100 ns) leaves sleep out, GetTickCount64 (milliseconds) counts it."""
    import ctypes

    kernel = getattr(ctypes, "windll", None)
    if kernel is None:
        return None

    def awake() -> float:
        ticks = ctypes.c_ulonglong()
        kernel.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(ticks))
        return ticks.value / 1e7

    def since_boot() -> float:
        kernel.kernel32.GetTickCount64.restype = ctypes.c_ulonglong
        return float(kernel.kernel32.GetTickCount64()) / 1000

    return awake, since_boot


def boot_id() -> str:
    """Another one for each boot; empty where this system tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
