"""PostgreSQL on three machines, led by Patroni; the leader's power is cut, or the leader is cut off, under load.

Nothing that was receipted is lost, ingest goes on by itself, and what two leaders could have said is said by one.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.store import UNAVAILABLE, Store, schema
from tests.faults import rig
from tests.faults.clusters import Cluster, cluster
from tests.faults.mosquitto import mosquitto
from tests.faults.stacks import shared_disk

TURNS = 12  # of three simulated minutes each, thirty times as fast: the load outlasts what happens in one of them
UNREPLICATED_S = 2.0  # in which the leader is cut from its standbys already

pytestmark = [pytest.mark.slow, pytest.mark.root]


@contextmanager
def led(*words: str) -> Iterator[Cluster]:
    with shared_disk() as disk:
        for folder in (disk.parent, disk):
            folder.chmod(0o755)
        with cluster(disk, *words) as made:
            yield made


def cut_power(held: Cluster, leader: str) -> None:
    others = [node.address for name, node in held.nodes.items() if name != leader]
    held.nodes[leader].cut(*others)
    time.sleep(UNREPLICATED_S)
    held.nodes[leader].kill()


def cut_off(held: Cluster, leader: str) -> None:
    """From everybody, the collector too."""
    held.nodes[leader].cut()


def cut_from_standbys(held: Cluster, leader: str) -> None:
    """The collector still reaches it."""
    held.nodes[leader].cut(*(node.address for name, node in held.nodes.items() if name != leader))


BLOWS: dict[str, Callable[[Cluster, str], None]] = {
    "power": cut_power, "cut off": cut_off, "cut from its standbys": cut_from_standbys,
}  # fmt: skip


def put_back(held: Cluster, name: str) -> None:
    node = held.nodes[name]
    node.heal()
    if not node.processes:
        held.start(name)
    held.wait_whole()


def newest_ms(url: str) -> int:
    """When the newest batch was received."""
    with suppress(*UNAVAILABLE), closing(Store.attach(url)) as store, store.read() as conn:
        return int(conn.scalar(sa.select(sa.func.max(schema.evidence.c.received_ms))) or 0)
    return 0


@pytest.mark.row(22)
def test_a_leader_that_dies_or_is_cut_off_loses_nothing(seed: int, torture: bool, tmp_path: Path) -> None:
    blows = 12 if torture else 3
    took: dict[str, list[float]] = {name: [] for name in BLOWS}
    with led() as held:
        house = rig.House(tmp_path, server=held.folder, database=held.url)
        house.argv["broker"] = mosquitto(house)

        def blow(turn: int, _chance: random.Random) -> None:
            name = list(BLOWS)[turn // TURNS % len(BLOWS)]
            if turn % TURNS == 1:
                took[name].append(lost_leader(held, name))

        ordeal = rig.suffer(house, "database", blows * TURNS, seed, drain_s=120, blow=blow)
        text = (tmp_path / "collector.log").read_text()
    print(f"{blows} leaders lost: {ordeal}; ingest was back after {took} s")
    assert ordeal.clean, ordeal
    assert ordeal.fleet.promised > 100 * blows
    assert "ingest_database_away" in text


def lost_leader(held: Cluster, name: str) -> float:
    """Seconds until a batch is committed again; all is whole again afterwards."""
    leader = held.leader()
    assert leader is not None
    began_s, began_ms = time.monotonic(), time.time_ns() // 1_000_000
    BLOWS[name](held, leader)
    # What was committed until it was cut off may be acknowledged; afterwards it is the next leader that commits.
    rig.wait_for(lambda: held.leader() not in (None, leader), f"another leader than {leader}, which is {name}", 90)
    rig.wait_for(
        lambda: newest_ms(held.url) > began_ms + UNREPLICATED_S * 1000, f"ingest ({name}; {held.states()})", 120
    )
    seconds = round(time.monotonic() - began_s, 1)
    put_back(held, leader)
    return seconds


def acknowledged_and_gone(held: Cluster) -> tuple[int, int]:
    """Rows whose commit was acknowledged until the leader's power was cut, and how many of them nobody has."""
    stopped, numbers = threading.Event(), list[int]()

    def write() -> None:
        with closing(Store.attach(held.url)) as store:
            number = 0
            while not stopped.is_set():
                with suppress(*UNAVAILABLE):
                    with store.write() as conn:
                        conn.execute(sa.insert(schema.about).values(name=f"n{number}", value=""))
                    numbers.append(number)
                number += 1

    with closing(Store.open(held.url)):
        thread = threading.Thread(target=write)
        thread.start()
        rig.wait_for(lambda: len(numbers) > 100, "rows")
        leader = held.leader()
        assert leader is not None
        cut_power(held, leader)
        stopped.set()
        thread.join(120)
    rig.wait_for(lambda: held.leader() not in (None, leader), "another leader", 120)
    with closing(Store.attach(held.url)) as store, store.read() as conn:
        left = set(conn.scalars(sa.select(schema.about.c.name)))
    return len(numbers), sum(f"n{number}" not in left for number in numbers)


@pytest.mark.row(22)
@pytest.mark.parametrize(
    "synchronous",
    [True, pytest.param(False, marks=pytest.mark.control("a standby that is not waited for", row=22))],
)
def test_what_was_acknowledged_is_with_the_next_leader(synchronous: bool) -> None:
    with led() as held:
        if not synchronous:
            held.configure({"synchronous_mode": False, "synchronous_mode_strict": False})
        count, gone = acknowledged_and_gone(held)
    print(f"{count} acknowledged, {gone} of them gone")
    assert (gone == 0) == synchronous
