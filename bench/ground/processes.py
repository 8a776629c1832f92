"""Processes of a bench: free ports for them, waiting until they answer, and what the kernel says that they cost."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class GroundError(RuntimeError):
    """A part of the ground does not start; one sentence."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def wait(true: Callable[[], bool], process: subprocess.Popen[bytes], what: str, seconds: float = 120) -> None:
    """Raises GroundError where the process ends before it is so."""
    until_s = time.monotonic() + seconds
    while not true():
        if process.poll() is not None or time.monotonic() > until_s:
            raise GroundError(f"{what} does not start")
        time.sleep(0.1)


@dataclass(frozen=True)
class Cost:
    """Processor seconds and resident bytes of a process with its children; pages they share count in each."""

    cpu_s: float
    rss_bytes: int


def cost(pid: int) -> Cost:
    """Of `pid`, its children and the process group it leads; zero when it is gone."""
    parts = by_program(pid).values()
    return Cost(sum(part.cpu_s for part in parts), sum(part.rss_bytes for part in parts))


def by_program(pid: int) -> dict[str, Cost]:
    found: dict[str, Cost] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                program, _, rest = (place / "stat").read_text().partition("(")[2].rpartition(")")
                fields = rest.split()
                if pid in (int(fields[1]), int(fields[2])):  # PostgreSQL's children have groups of their own
                    pages = int((place / "statm").read_text().split()[1])
                    old = found.get(program, Cost(0.0, 0))
                    ticks = sum(map(int, fields[11:15]))
                    found[program] = Cost(old.cpu_s + ticks / TICKS, old.rss_bytes + pages * PAGE)
            except OSError:
                continue  # it ended meanwhile; its parent has its time
    return found


def own() -> Cost:
    times = os.times()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Cost(times.user + times.system, pages * PAGE)
