"""What the agent costs its gateway with everything on: two UPSs, twenty seats, traps, the link and a speed test.

Memory is told as the kernel has it: all resident pages, and those of this process alone (the rest are pages of
libraries, which the disk holds too). Everything is real: the agent behind an emulated line of 50/20 Mbit/s, the
collector with its broker and measurement server beyond it, net-snmp's agent as each UPS's card, and the real client of
every seat with keys of its own. The kernel's own accounts are read: memory and processor time of the agent's process,
and what it had written to disk. `strace` counts its syncs; it stops the agent at those alone. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from bench.gateway.cards import card, device, plain, running
from bench.lines.line import SERVER, Terms, line
from collector.store import Store, schema

TERMS = Terms(down_mbps=50, up_mbps=20, rtt_ms=30)
CENTER = "BENCH"
SEATS = 20
WARM_S = 150.0  # by then every seat has spoken and the test at the start is over
DAY_S = 86_400.0
T = TypeVar("T")
TICKS = os.sysconf("SC_CLK_TCK")
SYNC = re.compile(r"sync(?:_file_range)?\(\d+<([^>]*)>")  # as `strace -y` writes it
COLLECTOR = """\
[collector]
data_dir = "{folder}/collector"
[web]
listen = "0.0.0.0:8480"
proxy = ["192.0.2.1"]  # none is there: this network is a laboratory
public_url = "http://{server}:8480"
[broker]
listen = "0.0.0.0:1883"
trust_network = true
public = "{server}:1883"
[measure]
listen = "0.0.0.0:8481"
public_url = "http://{server}:8481"
"""
AGENT = """\
[agent]
state_dir = "{folder}/agent"
status_listen = "127.0.0.1:8470"
[seats]
listen = "127.0.0.1:8471"
[power]
trap_listen = "127.0.0.1:1162"
[[ups]]
name = "one"
host = "127.0.0.1"
port = 1161
[[ups]]
name = "two"
host = "127.0.0.1"
port = 2161
"""


@dataclass(frozen=True)
class Account:
    """What the kernel has on a process at one moment; processor seconds include its ended children."""

    at_s: float
    cpu_s: float
    written_bytes: int
    syncs: Counter[str]  # by the file
    rss_mb: float
    own_mb: float
    peak_mb: float


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=30.0, metavar="N", help="how long it runs (default: 30)")
    parser.add_argument("--seats", type=int, default=SEATS, metavar="N", help=f"seat PCs (default: {SEATS})")
    parser.add_argument("--no-speed", action="store_true", help="without the speed test")


def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="nabz-") as name, ExitStack() as stack:
        folder = Path(name)
        road = stack.enter_context(line(TERMS))
        pid = stack.enter_context(
            center(folder, road.client, road.server, seats=options.seats, speed=not options.no_speed)
        )
        first = account(pid, folder)
        time.sleep(min(WARM_S, 30 * options.minutes))
        warm = account(pid, folder)
        time.sleep(max(0.0, first.at_s + 60 * options.minutes - time.monotonic()))
        last = account(pid, folder)
        print(f"heard by the collector: {heard(folder)}")
    print(f"memory: peak {last.peak_mb:.1f} MB, at the end {last.rss_mb:.1f} MB, {last.own_mb:.1f} MB of them its own")
    show(
        f"the whole {options.minutes:g} min, start{'' if options.no_speed else ' and a speed test'} included",
        first,
        last,
    )
    show("after the start", warm, last)
    return 0


def show(what: str, first: Account, last: Account) -> None:
    seconds = last.at_s - first.at_s
    days = seconds / DAY_S
    share = 100 * (last.cpu_s - first.cpu_s) / seconds
    written = (last.written_bytes - first.written_bytes) / days / 1e6
    syncs = last.syncs - first.syncs
    print(f"{what}: {share:.2f} % of a core, {written:.1f} MB and {syncs.total() / days:.0f} syncs to disk a day")
    print(f"  {', '.join(f'{file} {count}' for file, count in syncs.most_common())}")


# ---------------------------------------------------------------- the accounts


def account(pid: int, folder: Path) -> Account:
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    io = dict(row.split(": ") for row in (process / "io").read_text().splitlines())
    memory = {row.split(":")[0]: row.split()[1] for row in (process / "status").read_text().splitlines() if "kB" in row}
    return Account(
        at_s=time.monotonic(),
        cpu_s=sum(map(int, fields[11:15])) / TICKS,
        written_bytes=int(io["write_bytes"]),
        syncs=Counter(Path(file).name for file in SYNC.findall((folder / "syncs").read_text())),
        rss_mb=int(memory["VmRSS"]) / 1024,
        own_mb=int(memory["RssAnon"]) / 1024,
        peak_mb=int(memory["VmHWM"]) / 1024,
    )


def heard(folder: Path) -> dict[str, object]:
    """That all of it was on: readings of each kind that the collector holds, and the seats of the last roll call."""
    store = Store.open(f"sqlite:///{folder}/collector/nabz.db")
    with store.read() as conn:
        found: dict[str, object] = {
            kind: conn.scalar(sa.select(sa.func.count()).select_from(table)) for kind, table in schema.readings.items()
        }
        latest = schema.latest.c
        body = conn.scalar(sa.select(latest.body).where(latest.kind == "seats"))
        speed = conn.scalar(sa.select(latest.body).where(latest.kind == "speed"))
    store.close()
    seats, test = json.loads(body or "{}"), json.loads(speed or "{}")
    return {
        **found,
        "seats of the last call": {
            state: seats.get(state, 0) for state in ("known", "healthy", "unhealthy", "missing")
        },
        "download": test.get("download_mbps", test.get("failure")),
    }


# ---------------------------------------------------------------- the parts


@contextmanager
def center(folder: Path, inside: Sequence[str], outside: Sequence[str], *, seats: int, speed: bool) -> Iterator[int]:
    """A center with everything on; gives the number of its agent's process."""
    (folder / "collector.toml").write_text(COLLECTOR.format(folder=folder, server=SERVER))
    (folder / "agent.toml").write_text(AGENT.format(folder=folder) + ("" if speed else "[speed]\nenabled = false\n"))
    collector, agent = ([sys.executable, "-m", item] for item in ("collector", "agent"))
    settings, own = ("--config", str(folder / "collector.toml")), ("--config", str(folder / "agent.toml"))
    facts = ("--code", CENTER, "--name", "Bench", "--tier", "one", "--seats", str(seats), "--opening", "always")
    with ExitStack() as stack:
        start = stack.enter_context
        start(running([*outside, *collector, "serve", *settings], os.environ, folder / "collector.log"))
        for name, port in (("powernet", 1161), ("rfc1628", 2161)):
            start(card(device(name), folder / name, port, inside))
        until(lambda: called([*collector, "center", "add", *settings, *facts]) is not None)
        token = json.loads(called([*collector, "token", CENTER, "--json", *settings]) or "{}")["token"]
        (folder / "token").write_text(token)
        given = ("--token-file", str(folder / "token"), "--plain-http")
        enrol = [*inside, *agent, "enrol", f"http://{SERVER}:8480", *given, *own]
        until(lambda: called(enrol) is not None)
        (folder / "seat.key").write_text(called([*agent, "seat-key", *own]) or "")
        pid = start(traced([*inside, *agent, "run", *own], folder))
        wire = ("--gateway", "http://127.0.0.1:8471", "--key-file", str(folder / "seat.key"))
        place = ("--folder", str(folder / "seats"), "--count", str(seats))
        clients = [sys.executable, "-m", "bench.gateway.seats", *wire, *place]
        start(running([*inside, *clients], os.environ, folder / "seats.log"))
        yield pid


@contextmanager
def traced(words: Sequence[str], folder: Path) -> Iterator[int]:
    """The command with each of its syncs noted; gives the number of the process itself."""
    calls = "trace=fsync,fdatasync,sync_file_range,msync,sync,syncfs"
    strace = ["strace", "-f", "-y", "--seccomp-bpf", "-e", calls, "-o", str(folder / "syncs")]
    with running([*strace, *words], plain(), folder / "agent.log") as tracer:
        pid = until(lambda: child_of(tracer) if (folder / "syncs").exists() else 0)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGTERM)
            until(lambda: not Path(f"/proc/{pid}").exists() or child_of(tracer) == 0)


def child_of(pid: int) -> int:
    """The child of a process that is the agent, 0 without one."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return next((child for child in map(int, children) if _is_agent(child)), 0)


def _is_agent(pid: int) -> bool:
    """Whether it is the traced command already, and no passing child of the tracer's own."""
    try:
        return b"agent\0run\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def called(words: Sequence[str]) -> str | None:
    """What a command printed, None when it failed."""
    done = subprocess.run(list(words), capture_output=True, text=True, check=False, timeout=60)
    return done.stdout if done.returncode == 0 else None


def until(true: Callable[[], T], seconds: float = 90.0) -> T:
    """What it gives as soon as it gives something. Raises TimeoutError."""
    end_s = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > end_s:
            raise TimeoutError(f"nothing within {seconds:g} s")
        time.sleep(0.2)
    return found
