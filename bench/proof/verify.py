"""What `nabz-collector verify` costs a batch, of a center's simulated days in the tables and in the archive.

The command itself in a process of its own, so its start counts; processor time is that of the process and its children.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.ground.processes import GroundError
from bench.ground.whole import DATABASES, Ground, ground
from bench.proof.month import DAY_MS, HOUR_MS, MONTH, MONTH_END_MS, MonthPlay
from collector.store.database import opened


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=float, default=31, metavar="N", help="default 31: the whole month")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each kind; default 3")
    parser.add_argument("--database", default="sqlite", choices=sorted(DATABASES))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="made there, and left")


def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        begin_ms = MONTH_END_MS - int(options.days * DAY_MS)
        try:
            with ground(folder, 1, database=options.database, at_ms=begin_ms - HOUR_MS) as made:
                return _verified(made, options)
        except GroundError as error:
            print(f"bench verify: {error}", file=sys.stderr)
            return 1


def _verified(made: Ground, options: argparse.Namespace) -> int:
    print(f"{options.database}, {options.days:g} days of a center, {options.runs} runs each")
    print("| readings in | looked at | batches | CPU s: median | least | most | by the clock s | load |")
    print("|---|---|---|---|---|---|---|---|")
    with opened(made.settings) as store:
        play = MonthPlay(made, store, options.days)
        play.measured()
        play.closed()
        good = all(_row(made, "tables", options.runs, *words) for words in ((), ("--since-last",)))
        play.archived()
        _row(made, "archive, first time", 1, "--since-last")
        good &= all(_row(made, "archive", options.runs, *words) for words in ((), ("--since-last",)))
    return 0 if good else 1


def _row(made: Ground, where: str, runs: int, *words: str) -> bool:
    code = made.members[0].gateway.center.code
    argv = [sys.executable, "-m", "collector", "verify", "--center", code, "--month", MONTH, "--json", *made.named]
    cpu, clock, batches, good = [], [], 0, True
    for _ in range(runs):
        before, began_s = _children_s(), time.monotonic()
        done = subprocess.run([*argv, *words], capture_output=True, check=False)
        cpu.append(_children_s() - before)
        clock.append(time.monotonic() - began_s)
        batches, good = int(json.loads(done.stdout)["batches"]), good and done.returncode == 0
    middle, looked = statistics.median(cpu), "since the last time" if words else "all"
    print(f"| {where} | {looked} | {batches} | {middle:.2f} | {min(cpu):.2f} | {max(cpu):.2f} | "
          f"{statistics.median(clock):.1f} | {os.getloadavg()[0]:.1f} |")  # fmt: skip
    return good


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
