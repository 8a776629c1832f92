"""The whole house in processes of its own, to be killed at will, and what became of what it promised (`master`)."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from collector.store import Store, schema
from tests.faults.master import Account, check
from tests.helpers import ROOT
from tests.helpers.ports import free_ports
from tests.helpers.processes import token_words

# Who is killed himself leaves no agent behind, which would go on with the spool of a later play in the same folder.
ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")

Heads = dict[str, tuple[int, bytes]]  # by spool: the last number promised, and the chain there


@dataclass
class House:
    """A broker, a collector and one agent, on free ports, below one folder."""

    folder: Path
    source: Path = ROOT  # whose code runs: the repository's, or a copy with a planted bug
    server: Path | None = None  # where the collector keeps its files, when that is another disk
    database: str = ""  # its URL; empty: SQLite among those files
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    argv: dict[str, list[str]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)  # that nobody ended

    def __post_init__(self) -> None:
        self.web, self.broker, self.status, self.seats = free_ports(4)
        data = f"{self.server or self.folder}/data"
        self.database = self.database or f"sqlite:///{data}/nabz.db"
        self.collector_toml, self.agent_toml = self.folder / "collector.toml", self.folder / "agent.toml"
        self.collector_toml.write_text(
            f'[collector]\ndata_dir = "{data}"\nprocesses = "one"\n'  # it starts in half the processor time
            f'[database]\nurl = "{self.database}"\n'
            f'[web]\nlisten = "127.0.0.1:{self.web}"\n'
            f'[broker]\nurl = "mqtt://127.0.0.1:{self.broker}"\n[measure]\nenabled = false\n'
        )
        self.agent_toml.write_text(
            f'[agent]\nstate_dir = "{self.folder}/agent"\ncycle_s = 0.5\nstatus_listen = "127.0.0.1:{self.status}"\n'
            f'[seats]\nlisten = "127.0.0.1:{self.seats}"\n[speed]\nenabled = false\n'
            '[link]\ntarget = "127.0.0.1"\nprobes = 3\ninterval_ms = 20\nisp_hops = 0\ntimeout_s = 0.5\nlookup = ""\n'
        )
        self.argv = {
            "broker": self.collector("broker", "--listen", f"127.0.0.1:{self.broker}"),
            "collector": self.collector("serve", "--config", str(self.collector_toml)),
            "agent": self.agent("run", "--config", str(self.agent_toml)),
        }

    @staticmethod
    def collector(*words: str) -> list[str]:
        return [sys.executable, "-m", "collector", *words]

    @staticmethod
    def agent(*words: str) -> list[str]:
        return [sys.executable, "-m", "agent", *words]

    def start(self, name: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [*ENDS_WITH_US, *self.argv[name]], stdout=log, stderr=log, start_new_session=True, cwd=self.source
        )
        log.close()

    def kill(self, name: str) -> None:
        """SIGKILL to the process and its children: nothing of it gets a last word."""
        self.look(name)
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()

    def look(self, name: str) -> None:
        """Notes a part that has ended, unless it was killed outright, which is our doing. The fleet is no part."""
        code = self.processes[name].poll() if name in self.processes and name != "fleet" else None
        if code not in (None, -signal.SIGKILL):
            self.ended.append(f"{name}: {code}")

    def stop(self, name: str) -> None:
        self.look(name)
        process = self.processes.pop(name, None)
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def open(self, center: str = "FAULT-1") -> None:
        """Enrol the agent and start it."""
        self.enrol(center)
        self.start("agent")

    def enrol(self, center: str = "FAULT-1") -> None:
        """Start broker and collector, register a center, enrol the agent by the real path."""
        self.start("broker")
        self.start("collector")
        self.wait_healthy()
        self.join(center)

    def join(self, center: str = "FAULT-1") -> None:
        """Register a center, enrol the agent by the real path."""
        config = ("--config", str(self.collector_toml))
        facts = ("--code", center, "--name", "Fault rig", "--tier", "one", "--seats", "1", "--opening", "always")
        self.call(self.collector("center", "add", *config, *facts))
        answer = self.call(self.collector("token", center, "--json", *config))
        words = (*token_words(self.folder, json.loads(answer)["token"]), "--config", str(self.agent_toml))
        self.call(self.agent("enrol", f"http://127.0.0.1:{self.web}", *words))

    def close(self) -> None:
        for name in ("fleet", "agent", "collector", "broker"):
            self.stop(name)

    def call(self, argv: Sequence[str]) -> str:
        done = subprocess.run(list(argv), capture_output=True, text=True, check=False, timeout=120, cwd=self.source)
        assert done.returncode == 0, f"{argv[1:]}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def wait_healthy(self, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/healthz", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "collector.log").read_text()[-3000:])

    def heads(self) -> Heads:
        """What the agent's spool file has promised: the last number and the chain of each spool id."""
        with closing(sqlite3.connect(f"file:{self.folder}/agent/spool.db?mode=ro", uri=True)) as file:
            rows = file.execute("SELECT spool, seq, chain FROM spools").fetchall()
        return {spool: (seq, bytes(chain)) for spool, seq, chain in rows}

    def deliver(self, drain_s: float) -> Heads:
        """Stop the agent, note what it has promised by then, and let it send until that is held."""
        self.stop("agent")
        promised = self.heads()
        self.start("agent")
        until = time.monotonic() + drain_s
        while time.monotonic() < until:
            if not account(self, promised).lost:
                break
            time.sleep(0.5)
        self.stop("agent")
        return promised


def newest(house: House, kind: str) -> dict[str, Any] | None:
    """The agent's newest reading of a kind as the collector holds it."""
    store = Store.open(house.database)
    with store.read() as conn:
        body = conn.execute(sa.select(schema.latest.c.body).where(schema.latest.c.kind == kind)).scalar()
    store.close()
    return None if body is None else dict(json.loads(body))


def account(house: House, promises: Heads) -> Account:
    """The master check of what the agent promised."""
    for name in house.processes:
        house.look(name)
    return check(house.database, promises, ended=house.ended)


# A collector that asks for what it lacks has the gateway send again even what was receipted too early.
NOT_ASKED_FOR = [("collector/ingest/rows.py", "lacks=spool.holes()[: -wire.MAX_LACKS - 1 : -1]", "lacks=[]")]


def plant(folder: Path, edits: Sequence[tuple[str, str, str]]) -> Path:
    """A copy of the code with a bug in it: each edit replaces a text that stands exactly once in a file."""
    copy = folder / "planted"
    for package in ("agent", "collector"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, right, wrong in edits:
        text = (copy / name).read_text()
        assert text.count(right) == 1, f"{name} has changed: plant this bug anew\n{right}"
        (copy / name).write_text(text.replace(right, wrong))
    return copy


@dataclass(frozen=True)
class Ordeal:
    """What an ordeal left: the agent's promises and those of the simulated fleet beside it, if there was one."""

    agent: Account
    fleet: Account

    @property
    def clean(self) -> bool:
        return self.agent.clean and self.fleet.clean


def wait_for(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)


def suffer(
    house: House,
    victim: str,
    kills: int,
    seed: int,
    drain_s: float = 90,
    blow: Callable[[int, random.Random], None] | None = None,
    centers: int = 40,
) -> Ordeal:
    """Kill one part again and again at random moments, under load from an agent and simulated centers beside it.

    ``blow`` does something else to it than a kill and a start; it is told its turn, from 1.
    """

    def kill(_turn: int, chance: random.Random) -> None:
        house.kill(victim)
        time.sleep(chance.choice([0, 0.3]))
        house.start(victim)
        house.wait_healthy()  # the next blow should fall on work, not on a start

    chance = random.Random(f"{seed} {victim}")
    minutes = 3 * kills
    try:
        house.open()
        if centers:
            load(house, centers, seed, minutes)
        for turn in range(1, kills + 1):
            time.sleep(chance.uniform(0.5, 3.5))
            (blow or kill)(turn, chance)
        house.wait_healthy()
        if centers:
            unload(house, centers, seed, minutes * 2 + 60 + drain_s)
        agent = account(house, house.deliver(drain_s))
        return Ordeal(agent, check(house.database, {}, house.folder / "truth.jsonl") if centers else Account())
    finally:
        house.close()


def load(house: House, centers: int, seed: int, minutes: int) -> None:
    """Start a simulated fleet, thirty times as fast as life, and wait for its first promises."""
    truth, config = house.folder / "truth.jsonl", str(house.collector_toml)
    fleet = ("--centers", str(centers), "--seed", str(seed), "--minutes", str(minutes), "--speedup", "30")
    house.argv["fleet"] = house.collector("simulate", "--config", config, *fleet, "--truth", str(truth))
    house.start("fleet")
    wait_for(lambda: truth.exists() and truth.stat().st_size > 10_000, "the fleet's first promises")


def unload(house: House, centers: int, seed: int, patience_s: float) -> None:
    """Wait for the fleet's end. What it had no chance to bring by then it brings in another minute: its spools stay."""
    house.processes["fleet"].wait(patience_s)
    if "waiting 0, truth" not in (house.folder / "fleet.log").read_text():
        load(house, centers, seed, 1)
        house.processes["fleet"].wait(patience_s)


def work(module: str, *words: object, source: Path = ROOT, timeout_s: float = 3600) -> dict[str, Any]:
    """The figures that a worker of this suite prints as JSON, with the product's code taken from ``source``."""
    argv = [sys.executable, "-m", module, *map(str, words)]
    path = os.pathsep.join([str(source), str(ROOT)])
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        cwd=source,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, f"{argv[1:]}: exit {done.returncode}\n{done.stderr[-3000:]}"
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures
