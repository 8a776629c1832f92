"""kill -9 at every step of a batch's life, not only at random: before each system call, between each two steps.

The agent dies before its k-th call that others can see, for every k, from the making of its spool to the commit that
forgets a receipted batch. The collector dies in each gap of receive, insert, commit, receipt, PUBACK; the broker before
each kind of packet that it sends. `gate` finds these points in the programs as they are. Nothing promised by then may
be lost, no number given twice.
"""

from __future__ import annotations

import itertools
import os
import platform
import random
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import wire
from agent.spool.queue import Spool
from collector.store import Store
from tests.faults import rig
from tests.faults.master import held_of
from tests.faults.power.spool_work import STAMP
from tests.faults.processes.gate import MARKS, Call, Gap, gated
from tests.faults.stacks import FORGOTTEN_WHEN_SENT, SENT_TWICE, served_by

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" and not os.environ.get("CI"), reason="the gate knows the calls of x86-64 alone"
)

PATIENCE_S = 120


# ---------------------------------------------------------------- the agent, before each of its calls


@dataclass(frozen=True)
class Death:
    """``calls`` up to the one never made; what the spool left had promised; how long the start took, when it ended."""

    calls: Sequence[str]
    promised: rig.Heads
    up_s: float | None


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def start_gated(house: rig.House, part: str, plan: str) -> Path:
    plain, log = house.argv[part], house.folder / f"{part}.calls"
    house.argv[part] = gated(plan, log, plain)
    house.start(part)
    house.argv[part] = plain
    return log


def calls_of(house: rig.House, part: str) -> list[str]:
    """What a part that its gate has killed did until then."""
    process = house.processes[part]
    rig.wait_for(lambda: process.poll() is not None, f"the point where {part} is to die", PATIENCE_S)
    calls = (house.folder / f"{part}.calls").read_text().splitlines()
    assert calls[-1].endswith("!"), f"{part} ended by itself\n{(house.folder / f'{part}.log').read_text()[-3000:]}"
    return calls


def die_at(house: rig.House, plan: str) -> Death:
    """One life of the agent, from its start until its gate kills it."""
    began_s, up_s = time.monotonic(), None
    start_gated(house, "agent", plan)
    process = house.processes["agent"]
    while process.poll() is None and time.monotonic() < began_s + PATIENCE_S:
        if up_s is None and answers(house.status):  # the page opens after the first promise
            up_s = time.monotonic() - began_s
        time.sleep(0.02)
    return Death(calls_of(house, "agent"), heads_left(house.folder / "agent"), up_s)


def heads_left(state: Path) -> rig.Heads:
    """What a killed agent's spool promises, read from a copy: what is broken must stay so for the agent to mend."""
    with tempfile.TemporaryDirectory() as folder:
        for file in state.glob("spool.db*"):
            shutil.copy(file, folder)
        with closing(sqlite3.connect(f"{folder}/spool.db")) as spool:
            if spool.execute("SELECT 1 FROM sqlite_master WHERE name = 'spools'").fetchone() is None:
                return {}
            rows = spool.execute("SELECT spool, seq, chain FROM spools").fetchall()
    return {spool: (seq, bytes(chain)) for spool, seq, chain in rows}


def two_batches_forgotten(calls: Sequence[str]) -> bool:
    """Another commit came after a receipt."""
    sent = [place for place, call in enumerate(calls) if call.endswith("PUBLISH up")]
    return len(sent) > 1 and sum(call.endswith("fdatasync spool.db-wal") for call in calls[sent[1] :]) > 1


def every_k(house: rig.House) -> Iterator[Death]:
    """Twice: while the spool is made and from there on, and once more with the spool that is there."""
    for _ in range(2):
        for k in itertools.count(1):
            death = die_at(house, f"at {k}")
            yield death
            if two_batches_forgotten(death.calls):
                break


def some_k(house: rig.House, seed: int) -> Iterator[Death]:
    for k in random.Random(seed).sample(range(1, 60), 4):
        yield die_at(house, f"at {k}")


def random_moments(house: rig.House, kills: int, seed: int) -> Iterator[Death]:
    chance = random.Random(seed)
    for _ in range(kills):
        house.start("agent")
        time.sleep(chance.uniform(0, 3))
        house.kill("agent")
        yield Death((), heads_left(house.folder / "agent"), None)


def suffer(house: rig.House, deaths: Iterator[Death]) -> tuple[list[Death], rig.Account]:
    """The deaths one after the other, then a life that delivers, and the account of all of it."""
    try:
        house.enrol()
        died = list(deaths)
        house.start("agent")
        rig.wait_for(lambda: answers(house.status), "the agent's page")
        return died, rig.account(house, house.deliver(90))
    finally:
        house.close()


def broken(house: rig.House, died: Sequence[Death]) -> int:
    """Deaths whose spool had promised what is not held in the end, from the first number on and byte for byte."""
    chains: dict[str, dict[int, bytes]] = {}
    with closing(Store.open(house.database)) as store, store.read() as conn:
        for spool in {spool for death in died for spool in death.promised}:
            held = held_of(conn, spool).copies
            chains[spool] = {0: wire.GENESIS}
            for seq in itertools.takewhile(held.__contains__, itertools.count(1)):
                chains[spool][seq] = wire.chain(chains[spool][seq - 1], held[seq][:1])
    promised = [(spool, *head) for death in died for spool, head in death.promised.items()]
    return sum(chains[spool].get(seq) != chain for spool, seq, chain in promised)


def told(died: Sequence[Death]) -> str:
    up_s = [death.up_s for death in died if death.up_s is not None]
    before = Counter(death.calls[-1].partition(" ")[2].rstrip(" !") for death in died)
    figures = f"median {statistics.median(up_s):.1f} s, worst {max(up_s):.1f} s" if up_s else "none"
    load = os.getloadavg()[0]
    return f"{len(died)} deaths, up again in {figures} (n {len(up_s)}), load {load:.0f}; before {dict(before)}"


@pytest.mark.row(1)
def test_an_agent_killed_before_any_of_its_calls_keeps_its_promises(seed: int, torture: bool, tmp_path: Path) -> None:
    house = rig.House(tmp_path)
    died, account = suffer(house, every_k(house) if torture else some_k(house, seed))
    print(told(died), account)
    assert account.promised > 0  # the first of its calls, by which one dies, come before anything is promised
    assert account.clean
    assert broken(house, died) == 0


@pytest.mark.slow
@pytest.mark.row(1)
def test_an_agent_killed_at_random_keeps_its_promises(seed: int, torture: bool, tmp_path: Path) -> None:
    kills = 1_000 if torture else 20
    house = rig.House(tmp_path)
    died, account = suffer(house, random_moments(house, kills, seed))
    print(kills, "kills:", account)
    assert account.promised > kills
    assert account.clean
    assert broken(house, died) == 0


# ---------------------------------------------------------------- the collector and the broker, between steps

GAPS = [f"gap {gap}" for gap in ("received", "inserted", "committed", "receipted", "acknowledged")]
PACKETS = [f"before {packet}" for packet in ("CONNACK", "SUBACK", "PUBLISH up", "PUBACK", "PUBLISH receipt")]
STACKS = [
    ("sqlite", "amqtt"),
    *(
        pytest.param(*pair, marks=pytest.mark.slow)
        for pair in (("sqlite", "mosquitto"), ("postgresql", "amqtt"), ("postgresql", "mosquitto"))
    ),
]


def plans(points: Sequence[str], pair: int, seed: int) -> list[str]:
    """Every gap or packet so many times, in any order, at its first, second or third occasion."""
    chance = random.Random(seed)
    found = [f"{point} {chance.randint(1, 2 if 'ACK' in point else 3)}" for point in points * pair]
    chance.shuffle(found)
    return found


def in_turn(house: rig.House, part: str, points: Sequence[str]) -> Callable[[int, random.Random], None]:
    """A part dies at one point after the other, the next time at once; after the last it lives."""

    def blow(turn: int, _chance: random.Random) -> None:
        if turn == 1:
            house.kill(part)
            start_gated(house, part, points[0])
        calls_of(house, part)
        if turn < len(points):
            start_gated(house, part, points[turn])
        else:
            house.start(part)

    return blow


def dies(part: str, points: Sequence[str], folder: Path, database: str, broker: str, *, loaded: bool) -> rig.Ordeal:
    with served_by(folder, database, broker) as (house, _base):
        blow, centers = in_turn(house, part, points), 40 if loaded else 0
        ordeal = rig.suffer(house, part, len(points), len(points), blow=blow, centers=centers)
    print(part, database, broker, len(points), "kills:", ordeal)
    return ordeal


@pytest.mark.row(2)
@pytest.mark.slow
@pytest.mark.parametrize(("database", "broker"), STACKS)
def test_a_collector_killed_between_any_two_steps_loses_and_doubles_nothing(
    database: str, broker: str, seed: int, torture: bool, tmp_path: Path
) -> None:
    each_gap = 50 if torture else 1  # on each of four stacks
    points = plans(GAPS, each_gap, seed)[: None if torture else 2]
    ordeal = dies("collector", points, tmp_path, database, broker, loaded=torture)
    assert ordeal.agent.promised > len(points)
    assert ordeal.clean


@pytest.mark.slow
@pytest.mark.row(3)
@pytest.mark.parametrize(("database", "broker"), STACKS)
def test_a_broker_killed_before_any_of_its_packets_loses_and_doubles_nothing(
    database: str, broker: str, seed: int, torture: bool, tmp_path: Path
) -> None:
    each_packet = 10 if torture else 1  # on each of four stacks
    points = plans(PACKETS, each_packet, seed)[: None if torture else 2]  # who lost a broker comes back ever later
    ordeal = dies("broker", points, tmp_path, database, broker, loaded=torture)
    assert ordeal.agent.promised > len(points)
    assert ordeal.clean


# ---------------------------------------------------------------- controls: the bugs that each row exists for

INSERTED = "                self._insert(group)\n                head = head.after(group)\n"
NUMBER_BEFORE_READINGS = [
    (
        "agent/spool/file.py",
        f"            for group in groups:\n{INSERTED}",
        "            groups = list(groups)\n"
        "            ahead = head\n"
        "            for group in groups:\n"
        "                ahead = ahead.after(group)\n"
        "            self._put_head(ahead, held + len(groups))\n"
        '            self._sql.execute("COMMIT")\n'
        '            self._sql.execute("BEGIN")\n'
        f"            for group in groups:\n{INSERTED}",
    )
]
RECEIPT_BEFORE_COMMIT = [
    (
        "collector/ingest/transaction.py",
        "                filed = self._file(conn, group, self._begin(conn, group, now_ms, pace_ms))\n        except",
        "                filed = self._file(conn, group, self._begin(conn, group, now_ms, pace_ms))\n"
        "                self.early([self._sealed(each) for each in filed.receipts])\n"
        "                import time; time.sleep(0.25)\n"
        "        except",
    ),
    (
        "collector/ingest/delivery.py",
        "        self._ingest = ingest\n",
        "        self._ingest = ingest; ingest.early = publish\n",
    ),
]
DEDUPE_REMOVED = [
    (
        "collector/ingest/rows.py",
        "        gaps = missing(spool.ranges, verified.run.first, verified.run.last)\n        if gaps:",
        "        gaps = [(verified.run.first, verified.run.last)]\n        if gaps:",
    ),
]


@pytest.mark.control("the spool commits a number before its readings", row=1)
def test_a_number_that_is_kept_before_its_readings_is_seen(tmp_path: Path) -> None:
    house = rig.House(tmp_path, source=rig.plant(tmp_path, NUMBER_BEFORE_READINGS))
    # The first sync of the log is of its header, the second of the first commit.
    died, _account = suffer(house, (die_at(house, plan) for plan in ["after fdatasync spool.db-wal 2"]))
    assert broken(house, died) == 1


def died_once(tmp_path: Path, part: str, point: str, bug: Sequence[tuple[str, str, str]]) -> tuple[rig.Ordeal, int]:
    """What became of it, and how many readings the agent has still to send: these are not lost, only late."""
    house = rig.House(tmp_path, source=rig.plant(tmp_path, bug))
    blow = in_turn(house, part, [point])

    def then_a_round(turn: int, chance: random.Random) -> None:
        blow(turn, chance)
        time.sleep(3)  # what an agent has forgotten is gone from its disk with the next reading

    ordeal = rig.suffer(house, part, 1, 0, drain_s=3, blow=then_a_round, centers=0)
    spool = Spool(tmp_path / "agent" / "spool.db", stamp=lambda: STAMP)
    with closing(spool):
        return ordeal, spool.waiting()


@pytest.mark.slow
@pytest.mark.control("the receipt is sent before the commit", row=2)
def test_a_receipt_before_the_commit_is_seen(tmp_path: Path) -> None:
    ordeal, waiting = died_once(tmp_path, "collector", "gap inserted 1", [*RECEIPT_BEFORE_COMMIT, *rig.NOT_ASKED_FOR])
    assert ordeal.agent.lost > waiting


@pytest.mark.slow
@pytest.mark.control("what is held already is stored again", row=2)
def test_a_missing_dedupe_is_seen(tmp_path: Path) -> None:
    bugs = [*SENT_TWICE, *DEDUPE_REMOVED]  # what is sent again for want of a receipt would come half a minute later
    ordeal, _waiting = died_once(tmp_path, "collector", "gap committed 1", bugs)
    assert ordeal.agent.doubled > 0


@pytest.mark.slow
@pytest.mark.control("the agent forgets what it has only sent", row=3)
def test_an_agent_that_forgets_what_it_only_sent_is_seen(tmp_path: Path) -> None:
    ordeal, waiting = died_once(tmp_path, "broker", "before PUBLISH up 1", FORGOTTEN_WHEN_SENT)
    assert ordeal.agent.lost > waiting


# ---------------------------------------------------------------- the gate itself

WRITER = """
import os, sys, threading
def write(): os.write(handle, b"x")
handle = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for _ in range(9):
    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
"""


@pytest.mark.parametrize(
    ("plan", "written"), [("at 1", 0), ("at 5", 3), ("before write out 7", 6), ("after write out 2", 2)]
)
def test_the_gate_kills_before_the_call_that_is_meant_whatever_thread_makes_it(
    plan: str, written: int, tmp_path: Path
) -> None:
    argv = gated(plan, tmp_path / "calls", [sys.executable, "-c", WRITER, str(tmp_path / "out")])
    assert subprocess.run(argv, check=False, timeout=120).returncode == -signal.SIGKILL
    assert len((tmp_path / "out").read_bytes() if written else b"") == written
    assert (tmp_path / "calls").read_text().endswith(" !\n")


def test_the_gate_lets_a_program_end_whose_point_never_comes(tmp_path: Path) -> None:
    argv = gated("at 100", tmp_path / "calls", [sys.executable, "-c", WRITER, str(tmp_path / "out")])
    assert subprocess.run(argv, check=False, timeout=120).returncode == 0
    assert (tmp_path / "out").read_bytes() == b"x" * 9


def file(thread: int, what: str, data: bytes = b"") -> Call:
    return Call(thread, what, what.rpartition(" ")[2], data)


SAID = [
    Call(2, "sendto", "tcp", b"\x32\x20\x00\x12nabz/v1/receipt/g1"),
    Call(2, "sendto", "tcp", b"\x40\x02\x00\x01"),
    Call(3, "sendto", "tcp", b"\xc0\x00"),
]
COMMITS = {
    "sqlite": [
        *(file(thread, "lock nabz.db-shm") for thread in (3, 1)),
        file(1, "pwrite64 nabz.db-wal", MARKS[0]),
    ],
    "postgresql": [
        Call(1, "sendto", "postgresql", b"Q\x00\x00\x00\x0aBEGIN\x00"),
        Call(1, "sendto", "postgresql", MARKS[1]),
        Call(1, "sendto", "postgresql", b"Q\x00\x00\x00\x0bCOMMIT\x00"),
    ],
}


@pytest.mark.parametrize("database", COMMITS)
def test_the_gaps_of_ingest_are_told_by_the_calls_beside_them(database: str) -> None:
    calls = [*COMMITS[database], *SAID] * 2
    gaps = {gap: Gap(gap, "1") for gap in (point.partition(" ")[2] for point in GAPS)}
    died = {gap: next(place for place, call in enumerate(calls) if plan(call)) for gap, plan in gaps.items()}
    # Who ingests is known from the first batch written on, so the first beginning that counts is the second.
    assert died == {
        "received": 6 + (database == "sqlite"), "inserted": 2, "committed": 3, "receipted": 4, "acknowledged": 5,
    }  # fmt: skip
