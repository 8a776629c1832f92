"""Seconds from a UPS's trap to its reading on the gateway's disk, to the collector's row, and to the flag it raises.

Everything is real: net-snmp's agent with the state of RFC 1628 in it, net-snmp's own trap, `nabz-collector pilot` with
its broker, collector and enrolled agent. The clock starts before `snmptrap` is called: its start-up is in the figure.
"""

from __future__ import annotations

import argparse
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.spool import record
from bench.gateway import cards

UPS_MIB = "1.3.6.1.2.1.33.1"
STATE, TRAP = f"{UPS_MIB}.4.1.0", "1.3.6.1.2.1.33.2.1"
MAINS, BATTERY = "3", "5"
UPS = {f"{UPS_MIB}.{oid}": ("2", text) for oid, text in {
    "2.1.0": "2", "2.2.0": "0", "2.3.0": "30", "2.4.0": "97", "4.1.0": MAINS,
}.items()}  # fmt: skip
LONGEST_S = 30.0
QUIET_S = 1.0  # so that the next cut does not fall into the pause after the last look


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cuts", type=int, default=50, metavar="N", help="how many power cuts to stage (default: 50)")


def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        data, card, ear = Path(folder), free_port(), free_port(socket.SOCK_DGRAM)
        with cards.card(UPS, data / "card", card), pilot(data / "pilot", card, ear):
            spool, store = (find(data / "pilot", name) for name in ("spool.db", "nabz.db"))
            taken = [one_cut(card, ear, spool, store) for _ in range(options.cuts)]
    places = ("on the gateway's disk", "in the collector's rows", "flagged by the collector")
    for name, seconds in zip(places, zip(*taken, strict=True), strict=True):
        print(f"{name}: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s of {len(seconds)}")
    return 0


def one_cut(card: int, ear: int, spool: Path, store: Path) -> tuple[float, float, float]:
    """(seconds to the spool, to the collector's row, to its flag), then mains again."""
    turn(card, BATTERY)
    began_s, began_ms = time.monotonic(), time.time_ns() // 1_000_000
    call(ear)
    spool_s = seconds_until(lambda: states_in_spool(spool, began_ms), began_s)
    store_s = seconds_until(lambda: states_in_store(store, began_ms), began_s)
    flag_s = seconds_until(lambda: flag_state(store, began_ms) == "raised", began_s)
    turn(card, MAINS)
    call(ear)
    seconds_until(lambda: flag_state(store, began_ms) == "clear", time.monotonic())
    time.sleep(QUIET_S)
    return spool_s, store_s, flag_s


def seconds_until(true: Callable[[], bool], began_s: float) -> float:
    while not true():
        if time.monotonic() - began_s > LONGEST_S:
            raise TimeoutError(f"nothing within {LONGEST_S:g} s")
        time.sleep(0.005)
    return time.monotonic() - began_s


def states_in_spool(spool: Path, since_ms: int) -> bool:
    """The agent keeps its file to itself; the records in its pages can be told from noise."""
    return any(
        b'"output_state":"battery"' in raw
        for path in (spool, spool.with_name(f"{spool.name}-wal"))
        for group in groups_in(path)
        if group.wall_ms >= since_ms
        for raw in group.raws
    )


def groups_in(path: Path) -> Iterator[record.Group]:
    pages = path.read_bytes() if path.exists() else b""
    place = pages.find(record.MAGIC)
    while place >= 0:
        header = pages[place : place + record.HEADER.size]
        length = record.record_bytes(header) if len(header) == record.HEADER.size else None
        if length is not None:
            with suppress(record.RecordDamaged):  # half of one, whose other half lies in another page
                yield record.unpack(pages[place : place + length])
        place = pages.find(record.MAGIC, place + 1)


def states_in_store(store: Path, since_ms: int) -> bool:
    with looking_at(store) as conn:
        query = "SELECT 1 FROM ups_readings WHERE wall_ms >= ? AND output_state = 'battery' LIMIT 1"
        return conn.execute(query, (since_ms,)).fetchone() is not None


def flag_state(store: Path, since_ms: int) -> str:
    """What the flag of the notice "runs on battery" was last changed to since then."""
    with looking_at(store) as conn:
        query = "SELECT now FROM changes WHERE criterion = 'power.mains' AND recorded_ms >= ? ORDER BY id DESC LIMIT 1"
        row = conn.execute(query, (since_ms,)).fetchone()
    return row[0] if row else ""


def last_state(store: Path) -> str:
    with looking_at(store) as conn:
        row = conn.execute("SELECT output_state FROM ups_readings ORDER BY wall_ms DESC, seq DESC LIMIT 1").fetchone()
    return row[0] if row else ""


@contextmanager
def looking_at(database: Path) -> Iterator[sqlite3.Connection]:
    conn = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)
    try:
        yield conn
    finally:
        conn.close()


# ---------------------------------------------------------------- the parts


def turn(card: int, state: str) -> None:
    subprocess.run(
        ["snmpset", "-v2c", "-c", "private", "-On", f"127.0.0.1:{card}", STATE, "i", state],
        check=True, stdout=subprocess.DEVNULL, env=cards.plain(),
    )  # fmt: skip


def call(ear: int) -> None:
    subprocess.run(["snmptrap", "-v2c", "-c", "public", f"127.0.0.1:{ear}", "", TRAP], check=True, env=cards.plain())


@contextmanager
def pilot(data: Path, card: int, ear: int) -> Iterator[None]:
    """A collector with its broker and one enrolled agent, which watches the simulated UPS."""
    data.mkdir()
    words = [sys.executable, "-m", "collector", "pilot", "--data", str(data)]
    with cards.running(words, dict(os.environ)):
        settings = find(data, "agent.toml")
    text = settings.read_text() + f'[power]\ntrap_listen = "127.0.0.1:{ear}"\n[speed]\nenabled = false\n'
    settings.write_text(text + f'[[ups]]\nhost = "127.0.0.1"\nport = {card}\n')
    with cards.running(words, dict(os.environ)):
        store = find(data, "nabz.db", 60)
        seconds_until(lambda: last_state(store) == "online", time.monotonic() + 60)
        yield


def find(folder: Path, name: str, seconds: float = LONGEST_S) -> Path:
    """The file of this name somewhere below, once it is there."""
    end_s = time.monotonic() + seconds
    while not (found := list(folder.rglob(name))):
        if time.monotonic() > end_s:
            raise TimeoutError(f"no {name} below {folder}")
        time.sleep(0.1)
    return found[0]


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
