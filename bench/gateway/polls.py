"""Questions and milliseconds for each look at a UPS, ours beside NUT's `snmp-ups`, on the same cards in the same run.

Each card is net-snmp's agent with the objects of a device written for the tests; it counts the packets that come in
(snmpInPkts of RFC 3418). NUT asks for all it knows of a device as often as it may, once a second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.probes.ups import UpsProbe
from agent.probes.ups.snmp import SnmpSession, SnmpTarget, conversation
from bench.gateway.cards import DEVICES, card, device
from bench.gateway.power import free_port

PACKETS_IN = "1.3.6.1.2.1.11.1.0"
DRIVER = Path("/lib/nut/snmp-ups")
NUT_S = 6.0  # in which NUT looks five times or so
LOOK = re.compile(r"^\s*([\d.]+)\s+\[D1\] (?:SNMP UPS driver: entering (upsdrv_updateinfo)|.*(pollfreq: Data OK))")


@dataclass(frozen=True)
class Cost:
    """Questions and milliseconds of the first look, which finds out what the device is, and of each one after it."""

    first: int | None
    first_ms: float | None
    later: float | None
    later_ms: float | None

    @property
    def cells(self) -> str:
        numbers = (self.first, self.first_ms, self.later, self.later_ms)
        return " | ".join(
            "–" if number is None else f"{number:.3g}" if number < 1000 else f"{number:.0f}" for number in numbers
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    known = sorted(path.stem for path in DEVICES.glob("*.snmprec") if not path.stem.startswith("not-a-ups"))
    parser.add_argument("--devices", nargs="*", default=known, choices=known, metavar="NAME")
    parser.add_argument("--looks", type=int, default=20, metavar="N", help="how many looks after the first (20)")


def run(options: argparse.Namespace) -> int:
    if shutil.which("snmpd") is None or not DRIVER.exists():
        print("bench polls needs snmpd and snmp-ups: install snmpd and nut-snmp", file=sys.stderr)
        return 2
    print("questions and ms of the first look and of each one after it; NUT matched no table where it shows –\n")
    print("| device | profiles | first | ms | each | ms | NUT: first | ms | each | ms |\n|" + "---|" * 10)
    for name in options.devices:
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            with card(device(name), Path(folder), port):
                wait_for(port)
                profiles, ours = measure_ours(port, options.looks)
                nut = measure_nut(port, Path(folder))
        print(f"| {name} | {' '.join(profiles)} | {ours.cells} | {nut.cells} |", flush=True)
    return 0


# ---------------------------------------------------------------- ours


def measure_ours(port: int, looks: int) -> tuple[Sequence[str], Cost]:
    return asyncio.run(_ours(SnmpTarget(host="127.0.0.1", port=port), looks))


async def _ours(target: SnmpTarget, looks: int) -> tuple[Sequence[str], Cost]:
    probe = UpsProbe()
    before = await packets(target)
    took_ms = []
    for number in range(1 + looks):
        began_s = time.perf_counter()
        reading = await probe.measure(target, 5.0, _silent)
        took_ms.append((time.perf_counter() - began_s) * 1000)
        if number == 0:
            first = await packets(target) - before - 1
            before += first + 1
    later = (await packets(target) - before - 1) / looks
    return reading.profiles, Cost(first, took_ms[0], later, statistics.median(took_ms[1:]))


async def packets(target: SnmpTarget) -> int:
    """Those that came in so far, this question among them."""
    async with conversation(target) as talk:
        return int((await SnmpSession(talk.exchange).get([PACKETS_IN]))[PACKETS_IN] or 0)


def _silent(_line: str) -> None:
    return None


def wait_for(port: int) -> None:
    for _ in range(50):
        try:
            asyncio.run(packets(SnmpTarget(host="127.0.0.1", port=port)))
        except (OSError, RuntimeError, KeyError):
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the card does not answer")


# ---------------------------------------------------------------- NUT


def measure_nut(port: int, folder: Path) -> Cost:
    """The driver runs for a while; its own log dates the begin and the end of each look."""
    target = SnmpTarget(host="127.0.0.1", port=port)
    log = folder / "nut.log"
    settings = {"port": f"127.0.0.1:{port}", "community": "public", "snmp_version": "v2c", "pollfreq": "1"}
    words = [str(DRIVER), "-s", "bench", "-i", "1", "-u", "root", "-D", "-F"]
    words += [word for name, value in settings.items() for word in ("-x", f"{name}={value}")]
    before = asyncio.run(packets(target))
    with log.open("w") as out:
        paths = {"NUT_STATEPATH": str(folder), "NUT_CONFPATH": str(folder), "NUT_ALTPIDPATH": str(folder)}
        driver = subprocess.Popen(words, stdout=out, stderr=out, env=os.environ | paths)
    counts: list[tuple[int, int]] = []  # looks ended, packets
    for _ in range(2):
        time.sleep(NUT_S / 2)
        counts.append((len(spans(log.read_text())), asyncio.run(packets(target))))
    driver.send_signal(signal.SIGTERM)
    driver.wait(10)
    looks = spans(log.read_text())
    (early, some), (late, more) = counts
    if late <= early:
        return Cost(None, None, None, None)
    later = (more - some - 1) / (late - early)
    first = round(some - before - 1 - later * (early - 1))
    return Cost(first, looks[0][1] * 1000, later, 1000 * statistics.median(end - start for start, end in looks[1:]))


def spans(log: str) -> list[tuple[float, float]]:
    """(begin, end) in seconds since its start of each look that NUT's driver took to its end."""
    found, began = [], 0.0
    for match in filter(None, map(LOOK.match, log.splitlines())):
        if match[2]:
            began = float(match[1])
        else:
            found.append((began, float(match[1])))
    return found
