"""The power of a gateway is cut at random instants: whatever the spool had promised by then is found again (P2)."""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from agent.spool.queue import Spool
from tests.faults import rig
from tests.faults.power.power import Power, plugged_in
from tests.faults.power.spool_work import STAMP, T0, Promises, Truth, broken_chains, everything, unexplained

pytestmark = pytest.mark.root

SHORT_CUTS, CUTS = 12, 300
SHORT_CUTS_OF_ALL, CUTS_OF_ALL = 2, 40
CUTS_A_LIFE = 6  # then another spool is made on the same disk, so that its making is cut too


class Writer:
    """A spool at work in a process of its own, and what it has promised so far."""

    def __init__(self, path: Path, seed: int, source: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(rig.ROOT)])}
        argv = [sys.executable, "-m", "tests.faults.power.spool_work", str(path), str(seed), "0"]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=source, env=environment)
        self._unread = b""
        self.promises = Promises()

    def hear(self) -> Promises:
        """Everything said until now; half a line is no promise."""
        assert self._process.stdout is not None
        while select.select([self._process.stdout], [], [], 0)[0] and (
            chunk := os.read(self._process.stdout.fileno(), 65536)
        ):
            *lines, self._unread = (self._unread + chunk).split(b"\n")
            for line in lines:
                self.promises.hear(line.decode())
        assert self._process.poll() is None, "the writer has ended"
        return self.promises

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def suffer(power: Power, cuts: int, seed: int, source: Path = rig.ROOT) -> Counter[str]:
    figures: Counter[str] = Counter()
    for life in range(-(-cuts // CUTS_A_LIFE)):
        place = power.live / f"life{life % 3}"
        for old in place.glob("*"):
            old.unlink()
        writer = Writer(place / "spool.db", seed + life, source)
        try:
            figures += one_life(power, writer, place.name, min(CUTS_A_LIFE, cuts - life * CUTS_A_LIFE), seed + life)
        finally:
            writer.kill()
    print(dict(figures))
    return figures


def one_life(power: Power, writer: Writer, name: str, cuts: int, seed: int) -> Counter[str]:
    chance = random.Random(seed)
    if chance.random() < 0.8:  # otherwise the first cut may come while the file is being made
        rig.wait_for(lambda: writer.hear().promised > 0, "the first promise")
    figures: Counter[str] = Counter()
    for _ in range(cuts):
        time.sleep(chance.uniform(0, 0.4))
        promises = replace(writer.hear())
        with power.cut() as found:
            promises.forgotten = writer.hear().forgotten  # what it forgot in the instant between is no loss
            figures += recovered(found / name / "spool.db", Truth(seed, promises.spool), promises)
    return figures


def recovered(path: Path, truth: Truth, promises: Promises) -> Counter[str]:
    figures = Counter(cuts=1, promised=promises.promised)
    if not promises.spool and not path.parent.exists():
        return figures
    spool = Spool(path, stamp=lambda: STAMP)
    groups = everything(spool)
    held = {group.ident for group in groups}
    figures["lost"] = sum(len(group.raws) for group in truth.promised(promises) if group.ident not in held)
    figures["wrong"] = sum(not truth.holds(group) for group in groups if group.spool == promises.spool)
    figures["broken_chains"] = broken_chains(groups)
    figures["unexplained"] = unexplained(groups)
    # No number is given twice: the next one is beyond every one that was ever promised.
    head = spool.head()
    figures["numbers_again"] = bool(promises.promised) and (
        head.spool != promises.spool or head.seq < promises.promised
    )
    figures["unkept"] = not spool.append([b"life goes on"], "low", T0).durable
    spool.close()
    return figures


@pytest.mark.row(6)
def test_a_power_cut_loses_nothing_promised(seed: int, torture: bool) -> None:
    cuts = CUTS if torture else SHORT_CUTS
    with plugged_in() as power:
        figures = suffer(power, cuts, seed)
    assert figures["cuts"] == cuts
    assert figures["promised"] > 20 * cuts
    assert {name: count for name, count in figures.items() if count and name not in ("cuts", "promised")} == {}


@pytest.mark.control("commits are not synced", row=6)
@pytest.mark.parametrize("mode", ["NORMAL", "OFF"])
def test_without_a_sync_at_each_commit_power_cuts_lose_what_was_promised(mode: str, seed: int, tmp_path: Path) -> None:
    bug = [("agent/spool/tables.py", "PRAGMA synchronous=FULL", f"PRAGMA synchronous={mode}")]
    with plugged_in() as power:
        figures = suffer(power, CUTS_A_LIFE, seed, rig.plant(tmp_path, bug))
    assert figures["lost"] > 0


# ---------------------------------------------------------------- the whole agent


def cut_whole_agent(power: Power, folder: Path, cuts: int, seed: int, source: Path = rig.ROOT) -> rig.Account:
    """The program as it runs, with all its files on the disk whose power is cut, at work and while it starts. What each
    cut had left on the disk is accounted for at the collector in the end."""
    house, found = rig.House(folder, source=source), dict[str, tuple[int, bytes]]()
    (power.live / "agent").mkdir()
    (folder / "agent").symlink_to(power.live / "agent")

    def blow(turn: int, chance: random.Random) -> None:
        if chance.random() < 0.7:  # otherwise it may be starting still
            before = rig.newest(house, "gateway")
            rig.wait_for(lambda: rig.newest(house, "gateway") != before, "a receipt after a power cut")
        group = house.processes["agent"].pid
        power.lose(lambda: os.killpg(group, signal.SIGSTOP), lambda: house.kill("agent"))
        found.update(heads_of(power.live / "agent", folder / f"found{turn}"))
        house.start("agent")

    account = rig.suffer(house, "agent", cuts, seed, blow=blow, centers=0).agent
    gone = {spool: head for spool, head in found.items() if spool not in house.heads()}
    return account + rig.account(house, gone)


def heads_of(state: Path, copy: Path) -> rig.Heads:
    """Of a spool as it was left, which is read from a copy: to read it is to recover it."""
    copy.mkdir()
    for file in state.glob("spool.db*"):
        shutil.copy(file, copy)
    if not (copy / "spool.db").exists():
        return {}
    with contextlib.closing(sqlite3.connect(copy / "spool.db")) as file:
        try:
            rows = file.execute("SELECT spool, seq, chain FROM spools").fetchall()
        except sqlite3.OperationalError:  # it was being made
            return {}
    return {spool: (seq, bytes(chain)) for spool, seq, chain in rows}


@pytest.mark.slow
@pytest.mark.row(6)
def test_a_power_cut_of_the_whole_agent_takes_back_nothing_and_it_starts_again(
    seed: int, torture: bool, tmp_path: Path
) -> None:
    with plugged_in() as power:
        account = cut_whole_agent(power, tmp_path, CUTS_OF_ALL if torture else SHORT_CUTS_OF_ALL, seed)
    print(account)
    assert account.clean
    assert account.promised > 0
