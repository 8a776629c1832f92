"""How far a gateway's figure and the measurement server's own lie apart on emulated lines: what the bound of
`collector.judging.flags.witness` rests on. Server over gateway, each direction, the same test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass

import msgspec

from bench.lines.line import SERVER, Line, Terms, line
from bench.lines.speed import LATE_MS, PORT, RATES, _servers
from collector.judging.flags.witness import RULES, rate_mbps
from collector.speedtests.measure.record import Record


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One direction of one test, in Mbit/s; `record` is the server's whole record, for a closer look."""

    claimed: float | None
    seen: float | None

    @property
    def apart_pct(self) -> float | None:
        return None if self.claimed is None or not self.seen else 100 * (self.claimed / self.seen - 1)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rates", nargs="*", default=list(RATES[:6]), metavar="DOWN/UP", help="Mbit/s")
    parser.add_argument("--rtt", nargs="*", type=float, default=[5.0, 30.0, 80.0], metavar="MS")
    parser.add_argument("--loss", nargs="*", type=float, default=[0.0, 1.0], metavar="PCT")
    parser.add_argument("--modes", nargs="*", default=["quick", "adaptive", "full"])
    parser.add_argument("--cross", default="", help="what others do meanwhile, as in `bench speed`")
    parser.add_argument("--keep", default="", metavar="FILE", help="append each test and its record there, as JSON")


def run(options: argparse.Namespace) -> int:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        print("bench witness makes network namespaces: run it as root, with iproute2 installed", file=sys.stderr)
        return 2
    print("| line down/up, RTT, loss | mode | gateway down/up | server down/up | apart down | apart up | note |")
    print("|---|---|---|---|---|---|---|")
    apart: list[float] = []
    for rates in options.rates:
        down, up = (float(part) for part in rates.split("/"))
        for rtt in options.rtt:
            for loss in options.loss:
                for mode in options.modes:
                    terms = Terms(down_mbps=down, up_mbps=up, rtt_ms=rtt, loss_pct=loss)
                    apart += _show(terms, mode, *_cell(terms, mode, options))
    if apart:
        worst = sorted((abs(item) for item in apart), reverse=True)
        middle, p95 = statistics.median(worst), worst[len(worst) // 20]
        print(f"\nn {len(worst)}, median {middle:.2f} %, 95th {p95:.2f} %, worst {worst[0]:.2f} %", end="; ")
        print(f"the bound is {RULES.bound_pct:g} % and {RULES.floor_mbps:g} Mbit/s; load {os.getloadavg()[0]:.1f}")
    return 0


def _cell(terms: Terms, mode: str, options: argparse.Namespace) -> tuple[Pair, Pair, str]:
    """Down, up and a note. Runs once more when the emulator was late."""
    note = ""
    for _ in range(2):
        with line(terms) as made, _servers(made, options.cross, terms):
            words = [
                *made.client,
                sys.executable,
                "-m",
                "bench.lines.once",
                "librespeed",
                mode,
                f"http://{SERVER}:{PORT}",
            ]
            claim = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            raw = _record(made, claim["test_id"])
        note = f"LATE {made.late_ms:.1f} ms" if made.late_ms > LATE_MS else ""
        if not note:
            break
    if options.keep:
        with open(options.keep, "a", encoding="utf-8") as file:
            file.write(
                json.dumps({"terms": vars(terms), "mode": mode, "told": claim, "record": json.loads(raw)}) + "\n"
            )
    seen = msgspec.json.decode(raw, type=Record)
    pairs = (
        Pair(claimed=claim.get(name), seen=rate_mbps(way.at_ms, way.total)[0])
        for name, way in (("download_mbps", seen.down), ("upload_mbps", seen.up))
    )
    return *pairs, note  # type: ignore[return-value]  # two pairs


def _record(made: Line, test_id: str) -> bytes:
    address = f"http://{SERVER}:{PORT}/record?test={test_id}"
    script = f"from urllib.request import urlopen; print(urlopen({address!r}, timeout=20).read().decode())"
    return subprocess.run([*made.client, sys.executable, "-c", script], check=True, capture_output=True).stdout


def _show(terms: Terms, mode: str, down: Pair, up: Pair, note: str) -> list[float]:
    name = f"{terms.down_mbps:g}/{terms.up_mbps:g}, {terms.rtt_ms:g} ms, {terms.loss_pct:g} %"
    figures = [f"{a:g}/{b:g}" if a and b else "-" for a, b in ((down.claimed, up.claimed), (down.seen, up.seen))]
    apart = [pair.apart_pct for pair in (down, up)]
    shown = ["-" if item is None else f"{item:+.2f} %" for item in apart]
    print(f"| {name} | {mode} | {' | '.join(figures)} | {' | '.join(shown)} | {note} |", flush=True)
    return [] if note else [item for item in apart if item is not None]
