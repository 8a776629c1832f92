"""What of this machine may have held a test back: its processor, its network interrupts, its own link.

A thread that waits for a processor (beside others, or out of its share of one) reads no less than it would on a slow
line, so what it waited counts like what it used. Reading does input and output; `shares` and `link_share` are pure.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

SCHEDSTAT = Path("/proc/thread-self/schedstat")  # time on a processor, time in wait of one (ns), turns
DEVICES = Path("/sys/class/net")
SIOCGIWRATE = 0x8B21  # wireless.h: the bit rate of an interface, without root
SATURATED_IDLE = 0.05  # of a core that has no time left
WIFI_SHARE = 0.5  # of its bit rate is what a radio carries of payload at best; half of it is what one may expect
PORT_SHARE = 0.9  # of a cable's


@dataclass(frozen=True, kw_only=True)
class Core:
    """Seconds since the machine began: at rest, in network and other soft interrupts, and all."""

    idle_s: float
    softirq_s: float
    total_s: float


@dataclass(frozen=True, kw_only=True)
class MachineState:
    """Seconds: a monotonic clock, what this thread used, what it waited for a processor (None: not told), each core."""

    at_s: float
    thread_s: float
    waited_s: float | None
    cores: tuple[Core, ...]


@dataclass(frozen=True, kw_only=True)
class MachineShares:
    """Shares of the time of a test: `busy` this thread used a processor or waited for one; `softirq` of the core that
    soft interrupts have saturated, 0 where there is none."""

    busy: float = 0.0
    waited: float = 0.0
    softirq: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Port:
    """The machine's own end of the line: its rate in Mbit/s."""

    mbps: float
    is_wireless: bool

    def share(self, goodput_mbps: float) -> float:
        """How much of what it can carry a test moved; 1 and more: it may have been the bottleneck."""
        return goodput_mbps / (self.mbps * (WIFI_SHARE if self.is_wireless else PORT_SHARE))


def state(schedstat: Path = SCHEDSTAT) -> MachineState:
    """Of the thread that calls. Raises nothing."""
    return MachineState(
        at_s=time.monotonic(), thread_s=time.thread_time(), waited_s=_waited_s(schedstat), cores=tuple(_cores())
    )


def shares(before: MachineState, after: MachineState) -> MachineShares:
    seconds = max(1e-3, after.at_s - before.at_s)
    known = before.waited_s is not None and after.waited_s is not None
    waited = (after.waited_s or 0.0) - (before.waited_s or 0.0) if known else 0.0
    used = after.thread_s - before.thread_s
    cores = (_saturated(a, b) for a, b in zip(before.cores, after.cores, strict=False))
    return MachineShares(busy=(used + waited) / seconds, waited=waited / seconds, softirq=max(cores, default=0.0))


def _saturated(before: Core, after: Core) -> float:
    total = after.total_s - before.total_s
    if total <= 0 or (after.idle_s - before.idle_s) / total > SATURATED_IDLE:
        return 0.0
    return (after.softirq_s - before.softirq_s) / total


def port(name: str, devices: Path = DEVICES, wireless_mbps: Callable[[str], float | None] | None = None) -> Port | None:
    """The link of a physical interface; None for any other, and where its rate is not told."""
    folder = devices / name
    if not name or "/" in name or not (folder / "device").exists():
        return None
    if (folder / "wireless").exists() or (folder / "phy80211").exists():
        mbps = (wireless_mbps or _wireless_mbps)(name)
        return Port(mbps=mbps, is_wireless=True) if mbps else None
    with contextlib.suppress(OSError, ValueError):
        mbps = float((folder / "speed").read_text("ascii"))  # negative while the link is down
        return Port(mbps=mbps, is_wireless=False) if mbps > 0 else None
    return None


def _wireless_mbps(name: str) -> float | None:
    try:
        import fcntl
    except ImportError:
        return None
    request = struct.pack("16si12x", name.encode()[:15], 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        bits = struct.unpack_from("i", fcntl.ioctl(sock, SIOCGIWRATE, request), 16)[0]
        return bits / 1e6 if bits > 0 else None
    return None


def _waited_s(schedstat: Path) -> float | None:
    try:
        return int(schedstat.read_text("ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # a kernel without CONFIG_SCHED_INFO, or not Linux
        return None


def _cores() -> list[Core]:
    try:
        cores = psutil.cpu_times(percpu=True)
    except (OSError, RuntimeError, psutil.Error):
        return []
    return [
        Core(
            idle_s=core.idle + getattr(core, "iowait", 0.0), softirq_s=getattr(core, "softirq", 0.0),
            total_s=sum(core) - getattr(core, "guest", 0.0) - getattr(core, "guest_nice", 0.0),
        )
        for core in cores
    ]  # fmt: skip
