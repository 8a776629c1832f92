"""This machine's own health, its clock, its WAN counters, and what the agent itself costs."""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from agent import __version__
from agent.probes import machine
from agent.probes.link import interfaces
from agent.probes.link.route import default_route
from agent.probes.probe import Context
from agent.seat.sensors import hottest_c, sensed, share_pct
from agent.wire import Clock, GatewayReading, Reading

STA_UNSYNC, STA_NANO, TIME_ERROR = 0x0040, 0x2000, 5  # linux/timex.h
CPU_WINDOW_S = 0.3  # psutil averages since its last call; a first call needs some time behind it


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), the head of it; the tail is room for what the kernel writes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


@dataclass(frozen=True, kw_only=True)
class ClockState:
    """The kernel's view of its clock. `offset_ms` is what a time daemon still has to correct; None if unsynced."""

    quality: Clock
    offset_ms: float | None = None


def clock_state() -> ClockState:
    """Reads adjtimex(2): no privilege, a microsecond. Unknown counts as unsynced."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):  # not Linux
        return ClockState(quality="unsynced")
    return judge_clock(state, timex.status, timex.offset)


def judge_clock(state: int, status: int, offset: int) -> ClockState:
    """The kernel sets TIME_ERROR and STA_UNSYNC until a daemon says the clock is right; -1 is a refused call."""
    if state in (-1, TIME_ERROR) or status & STA_UNSYNC:
        return ClockState(quality="unsynced")
    return ClockState(quality="synced", offset_ms=round(offset / (1e6 if status & STA_NANO else 1e3), 3))


async def probe(context: Context) -> Sequence[Reading]:
    """One GatewayReading. What this machine does not show stays None, and a sensor that fails costs itself alone.
    The spool's figures are the service's to add."""
    await asyncio.sleep(CPU_WINDOW_S)
    note, me = context.explain, psutil.Process()
    clock, route = clock_state(), sensed("default route", default_route, note)
    wan = interfaces.counted(context.settings.speed.wan_interface, route)
    counters = (sensed("interface counters", lambda: psutil.net_io_counters(pernic=True), note) or {}).get(wan or "")
    spent = sensed("own time", me.cpu_times, note)
    rss_bytes = sensed("own memory", lambda: me.memory_info().rss, note)
    note(f"clock {clock.quality} by adjtimex; WAN interface {wan or 'unknown: no default route'}")
    return [
        GatewayReading(
            cpu_pct=share_pct(sensed("processor load", psutil.cpu_percent, note)),
            memory_pct=share_pct(sensed("memory", lambda: psutil.virtual_memory().percent, note)),
            disk_free_pct=share_pct(disk_free_pct(context.settings.state_dir)),
            temperature_c=hottest_c(note=note),
            uptime_s=uptime_s(),
            clock_offset_ms=clock.offset_ms,
            wan_interface=wan,
            wan_rx_bytes=counters.bytes_recv if counters else None,
            wan_tx_bytes=counters.bytes_sent if counters else None,
            agent_rss_mb=round(rss_bytes / 1e6, 1) if rss_bytes else None,
            agent_cpu_s=round(sum(spent[:4]), 2) if spent else None,
            version=__version__,
            machine=sensed("own hardware address", lambda: machine.own_hash(wan), note),
            router=sensed(
                "router's hardware address", lambda: machine.router_hash(route.gateway if route else None), note
            ),
            hardware=sensed("hardware", machine.hardware, note),
        )
    ]


def disk_free_pct(path: Path) -> float | None:
    """Free share of the file system that holds ``path``, or would once its folders are made."""
    for place in (path, *path.absolute().parents):
        try:
            return round(100 - psutil.disk_usage(str(place)).percent, 1)
        except OSError:
            continue
    return None


def uptime_s() -> float:
    """Seconds since boot by the kernel's own count: right even while the wall clock is not."""
    return round(time.clock_gettime(time.CLOCK_BOOTTIME), 1)
