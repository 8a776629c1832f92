"""Whether a gateway that is its own bottleneck says so: tests on one emulated line, the gateway's processor shared out.

A run is *limited* when it read less than it should have, and *right* when it read the line's rate; the flag
`client_limited` is due on the first and false on the second. A machine that is busy besides limits every run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.lines.emulator import GOODPUT
from bench.lines.line import SERVER, Line, Terms, line

PORT = 8474
QUOTA = Path("/sys/fs/cgroup/cpu")  # of control groups, version 1
QUOTA_V2 = Path("/sys/fs/cgroup")
LIMITED, RIGHT = 0.97, 0.985
BURNER = "while True: pass"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", default="300/100", metavar="DOWN/UP", help="Mbit/s")
    parser.add_argument("--rtt", type=float, default=20.0, metavar="MS")
    parser.add_argument("--mode", default="quick")
    parser.add_argument("--cases", nargs="*", default=list(CASES), metavar="CASE", help=" ".join(CASES))
    parser.add_argument("--repeat", type=int, default=3)


def run(options: argparse.Namespace) -> int:
    down, up = (float(part) for part in options.rate.split("/"))
    terms = Terms(down_mbps=down, up_mbps=up, rtt_ms=options.rtt)
    counts: Counter[tuple[str, bool]] = Counter()
    print("| case | down | up | flags | load |\n|---|---|---|---|---|", flush=True)
    for name in options.cases:
        for _ in range(options.repeat):
            found = once(terms, name, options.mode)
            ratios = [(found[f"{way}load_mbps"] or 0) / rate / GOODPUT for way, rate in (("down", down), ("up", up))]
            kind = "limited" if min(ratios) < LIMITED else "right" if min(ratios) > RIGHT else "between"
            counts[kind, "client_limited" in found["flags"]] += 1
            load = os.getloadavg()[0]
            print(f"| {name} | {ratios[0]:.3f} | {ratios[1]:.3f} | {' '.join(found['flags'])} | {load:.1f} |")
            print(found["said"], file=sys.stderr, flush=True)
    for kind in ("limited", "between", "right"):
        flagged, not_flagged = counts[kind, True], counts[kind, False]
        print(f"{kind}: {flagged} of {flagged + not_flagged} flagged client_limited", flush=True)
    return 0


def once(terms: Terms, name: str, mode: str) -> dict[str, Any]:
    """What one test says, with the words of its directions under `said`."""
    with line(terms) as made, _server(made), CASES[name]() as prefix:
        words = [
            *prefix,
            *made.client,
            sys.executable,
            "-m",
            "bench.lines.once",
            "librespeed",
            mode,
            f"http://{SERVER}:{PORT}",
        ]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
    return {"flags": [], "download_mbps": None, "upload_mbps": None, **json.loads(done.stdout), "said": done.stderr}


@contextlib.contextmanager
def _server(made: Line) -> Iterator[None]:
    words = [*made.server, sys.executable, "-m", "collector", "measure", "--listen", f"{SERVER}:{PORT}"]
    script = f"import socket; socket.create_connection(('{SERVER}', {PORT}), 5).close()"
    with _running(words):
        while subprocess.run([*made.server, sys.executable, "-c", script], capture_output=True).returncode:
            time.sleep(0.1)
        yield


@contextlib.contextmanager
def _running(*commands: list[str]) -> Iterator[None]:
    started = [subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for words in commands]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


# ---------------------------------------------------------------- what the gateway has to itself


@contextlib.contextmanager
def _plain() -> Iterator[list[str]]:
    yield []


@contextlib.contextmanager
def _beside(burners: int) -> Iterator[list[str]]:
    """One core, shared with others that never rest."""
    pinned = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]
    with _running(*([[*pinned, sys.executable, "-c", BURNER]] * burners)):
        yield pinned


@contextlib.contextmanager
def _quota(pct: int) -> Iterator[list[str]]:
    """A share of one core, as a container or a virtual machine has it."""
    first = (QUOTA / "cpu.cfs_quota_us").parent.exists()
    group = (QUOTA if first else QUOTA_V2) / f"nabz-bench-{os.getpid()}"
    group.mkdir()
    try:
        if first:
            (group / "cpu.cfs_quota_us").write_text(str(pct * 1000))
        else:
            (group / "cpu.max").write_text(f"{pct * 1000} 100000")
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
    finally:
        group.rmdir()


CASES: dict[str, Callable[[], contextlib.AbstractContextManager[list[str]]]] = {
    "plain": _plain,
    "beside-1": lambda: _beside(1),
    "beside-2": lambda: _beside(2),
    "beside-4": lambda: _beside(4),
    "quota-6": lambda: _quota(6),
    "quota-3": lambda: _quota(3),
}
