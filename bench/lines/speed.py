"""Measured over true rate on emulated lines: our modes beside iperf3 and speedtest-cli, in the same run.

A cell whose emulator was late (the machine had no CPU to spare) is run again, and shown as late when it stays so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from bench.lines.emulator import GOODPUT
from bench.lines.line import SERVER, Line, Terms, line

PORT, IPERF_PORT = 8474, 5201
LATE_MS = 1.0
RATES = ("2/0.5", "5/1", "10/2", "20/5", "50/10", "100/20", "300/100")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Mbit/s of payload, as measured; `megabytes` is what the line really carried."""

    down: float | None
    up: float | None
    seconds: float
    megabytes: float = 0.0
    rss_mb: float | None = None
    capacity_down: float | None = None
    capacity_up: float | None = None
    flags: tuple[str, ...] = ()
    note: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rates", nargs="*", default=list(RATES), metavar="DOWN/UP", help="Mbit/s")
    parser.add_argument("--rtt", nargs="*", type=float, default=[5.0, 30.0, 80.0], metavar="MS")
    parser.add_argument("--loss", nargs="*", type=float, default=[0.0, 1.0], metavar="PCT")
    parser.add_argument("--meters", nargs="*", default=list(METERS), choices=list(METERS))
    parser.add_argument("--buffer", type=float, default=100.0, metavar="MS")
    parser.add_argument("--cross", default="", choices=["", *CROSS], help="what others do meanwhile")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object a row")


def run(options: argparse.Namespace) -> int:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        print("bench speed makes network namespaces: run it as root, with iproute2 installed", file=sys.stderr)
        return 2
    print("| line down/up, RTT, loss | meter | down | up | MB | s | RSS MB | note |\n|---|---|---|---|---|---|---|---|")
    for rates in options.rates:
        down, up = (float(part) for part in rates.split("/"))
        for rtt in options.rtt:
            for loss in options.loss:
                terms = Terms(down_mbps=down, up_mbps=up, rtt_ms=rtt, loss_pct=loss, buffer_ms=options.buffer)
                for meter in options.meters * options.repeat:
                    _show(terms, meter, cell(terms, meter, options.cross), options.json)
    return 0


def cell(terms: Terms, meter: str, cross: str = "", tries: int = 2) -> Row:
    """One meter on one line. Runs again while the emulator was late."""
    for left in reversed(range(tries)):
        with line(terms) as made, _servers(made, cross, terms):
            time.sleep(0.3)
            row = METERS[meter](made, terms)
        moved = sum(way["bytes"] for way in made.counts.values()) / 1e6
        late = f" LATE {made.late_ms:.1f} ms" if made.late_ms > LATE_MS else ""
        if not late or not left:
            return replace(row, megabytes=moved, note=f"{row.note}{late}".strip())
    raise AssertionError("tries must be 1 or more")


@contextlib.contextmanager
def _servers(made: Line, cross: str, terms: Terms) -> Iterator[None]:
    commands = [
        [*made.server, sys.executable, "-m", "collector", "measure", "--listen", f"{SERVER}:{PORT}"],
        [*made.server, "iperf3", "-s", "-p", str(IPERF_PORT)],
        [*made.server, "iperf3", "-s", "-p", str(IPERF_PORT + 1)],
    ]
    with contextlib.ExitStack() as stack:
        for command in commands:
            stack.callback(_stop, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        _await_port(made, PORT)
        _await_port(made, IPERF_PORT + 1)
        if cross:
            words = [*made.client, "iperf3", "-c", SERVER, "-p", str(IPERF_PORT + 1), "-t", "60", *CROSS[cross](terms)]
            stack.callback(_stop, subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            time.sleep(2)
        yield


def _await_port(made: Line, port: int) -> None:
    script = f"import socket; socket.create_connection(('{SERVER}', {port}), 5).close()"
    for _ in range(50):
        if subprocess.run([*made.server, sys.executable, "-c", script], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on port {port}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


# ---------------------------------------------------------------- others on the line

CROSS: dict[str, Callable[[Terms], list[str]]] = {
    "udp20-down": lambda terms: ["-u", "-R", "-b", f"{terms.down_mbps * 0.2 * GOODPUT}M", "-l", "1400"],
    "udp50-down": lambda terms: ["-u", "-R", "-b", f"{terms.down_mbps * 0.5 * GOODPUT}M", "-l", "1400"],
    "udp20-up": lambda terms: ["-u", "-b", f"{terms.up_mbps * 0.2 * GOODPUT}M", "-l", "1400"],
    "udp50-up": lambda terms: ["-u", "-b", f"{terms.up_mbps * 0.5 * GOODPUT}M", "-l", "1400"],
    "tcp-down": lambda _terms: ["-R"],
    "tcp4-down": lambda _terms: ["-R", "-P", "4"],
    "tcp-up": lambda _terms: [],
}

# ---------------------------------------------------------------- meters


def _ours(mode: str, engine: str = "librespeed") -> Callable[[Line, Terms], Row]:
    def meter(made: Line, terms: Terms) -> Row:
        words = [*made.client, sys.executable, "-m", "bench.lines.once", engine, mode, f"http://{SERVER}:{PORT}"]
        started = time.monotonic()
        found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        seconds = time.monotonic() - started
        if "failure" in found:
            return Row(down=None, up=None, seconds=seconds, note=found["failure"])
        return Row(
            down=found["download_mbps"],
            up=found["upload_mbps"],
            seconds=seconds,
            rss_mb=found["rss_mb"],
            capacity_down=found["capacity_down_mbps"],
            capacity_up=found["capacity_up_mbps"],
            flags=tuple(found["flags"]),
            note=_note(found, terms),
        )

    return meter


def _note(found: dict[str, Any], terms: Terms) -> str:
    notes = [",".join(found["flags"]), f"says {found['bytes_total'] / 1e6:.1f} MB"]
    if found["cross_traffic_down_pct"] or found["cross_traffic_up_pct"]:
        down, up = (
            (found[f"capacity_{way}_mbps"] or 0) / mbps / GOODPUT
            for way, mbps in (("down", terms.down_mbps), ("up", terms.up_mbps))
        )
        others = f"{found['cross_traffic_down_pct']}/{found['cross_traffic_up_pct']} %"
        notes.append(f"capacity {down:.3f}/{up:.3f}, others {others}")
    return ", ".join(part for part in notes if part)


def _iperf3(made: Line, _terms: Terms) -> Row:
    started = time.monotonic()
    down, up = (_iperf3_mbps(made, ["-R"]), _iperf3_mbps(made, []))
    return Row(down=down, up=up, seconds=time.monotonic() - started)


def _iperf3_mbps(made: Line, options: list[str]) -> float:
    words = [
        *made.client,
        "iperf3",
        "-c",
        SERVER,
        "-p",
        str(IPERF_PORT),
        "-P",
        "4",
        "-t",
        "8",
        "-O",
        "2",
        "-J",
        *options,
    ]
    found = json.loads(subprocess.run(words, capture_output=True, text=True).stdout)
    return float(found["end"]["sum_received"]["bits_per_second"]) / 1e6


METERS: dict[str, Callable[[Line, Terms], Row]] = {
    "quick": _ours("quick"),
    "adaptive": _ours("adaptive"),
    "full": _ours("full"),
    "ndt7": _ours("full", "ndt7"),
    "iperf3": _iperf3,
    "speedtest-cli": _ours("-", "ookla"),
}


def _show(terms: Terms, meter: str, row: Row, as_json: bool) -> None:
    down = None if row.down is None else row.down / terms.down_mbps / GOODPUT
    up = None if row.up is None else row.up / terms.up_mbps / GOODPUT
    if as_json:
        print(json.dumps(vars(terms) | vars(row) | {"meter": meter, "down_ratio": down, "up_ratio": up}), flush=True)
        return
    where = f"{terms.down_mbps:g}/{terms.up_mbps:g} {terms.rtt_ms:g} ms {terms.loss_pct:g} %"
    ratios = " | ".join("none" if ratio is None else f"{ratio:.3f}" for ratio in (down, up))
    rss = "" if row.rss_mb is None else f"{row.rss_mb:.0f}"
    print(
        f"| {where} | {meter} | {ratios} | {row.megabytes:.1f} | {row.seconds:.1f} | {rss} | {row.note} |", flush=True
    )
