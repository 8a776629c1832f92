"""kill -9 of each part at random moments under load: nothing promised is lost, nothing counts twice (P1).

At every step instead of at random: `test_kill_steps`, with the planted bugs that this suite exists for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import rig
from tests.faults.databases import Database, Postgres
from tests.faults.stacks import SENT_TWICE, served_by


@pytest.mark.slow
@pytest.mark.row(1, 2, 3)
@pytest.mark.parametrize("victim", ["agent", "collector", "broker"])
def test_kill_9_loses_and_doubles_nothing(victim: str, seed: int, torture: bool, tmp_path: Path) -> None:
    kills = 20 if torture else 3
    ordeal = rig.suffer(rig.House(tmp_path), victim, kills, seed)
    print(victim, kills, "kills:", ordeal)
    # The agent's own promises: its spool's numbers, and the chain over their bytes.
    assert ordeal.agent.promised > 5 * kills
    assert (ordeal.agent.lost, ordeal.agent.doubled, ordeal.agent.unbroken) == (0, 0, True)
    # And those of the fleet beside it, each id and hash written down before it was sent.
    assert ordeal.fleet.promised > 100 * kills
    assert ordeal.clean


KILLED = [
    ("agent", "sqlite", "mosquitto"),
    ("agent", "postgresql", "amqtt"),
    ("collector", "sqlite", "mosquitto"),
    ("collector", "postgresql", "amqtt"),
    ("collector", "postgresql", "mosquitto"),
    ("broker", "sqlite", "mosquitto"),
    ("broker", "postgresql", "amqtt"),
    ("broker", "postgresql", "mosquitto"),
    ("database", "postgresql", "amqtt"),
    ("database", "postgresql", "mosquitto"),
]


@pytest.mark.slow
@pytest.mark.row(1, 2, 3, 5)
@pytest.mark.parametrize(("victim", "database", "broker"), KILLED)
def test_kill_9_loses_and_doubles_nothing_with_any_database_and_broker(
    victim: str, database: str, broker: str, seed: int, torture: bool, tmp_path: Path
) -> None:
    kills = 20 if torture else 3
    with served_by(tmp_path, database, broker) as (house, base):

        def blow(_turn: int, chance: random.Random) -> None:
            base.kill()
            time.sleep(chance.uniform(0, 1))
            base.start()

        ordeal = rig.suffer(house, victim, kills, seed, blow=blow if victim == "database" else None)
    print(victim, database, broker, kills, "kills:", ordeal)
    assert ordeal.fleet.promised > 100 * kills
    assert ordeal.clean


@pytest.mark.slow
@pytest.mark.row(2)
def test_every_batch_sent_twice_counts_once(seed: int, tmp_path: Path) -> None:
    ordeal = rig.suffer(rig.House(tmp_path, source=rig.plant(tmp_path, SENT_TWICE)), "agent", 2, seed)
    assert ordeal.clean, ordeal


def fail_in_turn(base: Database) -> Callable[[int, random.Random], None]:
    """kill -9 of PostgreSQL and all its children, then an immediate shutdown, and so on."""
    assert isinstance(base, Postgres)

    def blow(turn: int, chance: random.Random) -> None:
        base.kill() if turn % 2 else base.stop()
        time.sleep(chance.uniform(0, 1))
        base.start()

    return blow


@pytest.mark.slow
@pytest.mark.row(5)
def test_postgresql_killed_or_shut_down_at_once_takes_back_no_receipt(seed: int, torture: bool, tmp_path: Path) -> None:
    fails = 100 if torture else 2
    with served_by(tmp_path, "postgresql", "mosquitto") as (house, base):
        ordeal = rig.suffer(house, "database", fails, seed, blow=fail_in_turn(base), centers=40 if torture else 0)
    print(fails, "ends of PostgreSQL:", ordeal)
    assert ordeal.agent.promised > fails
    assert ordeal.clean


@pytest.mark.slow
@pytest.mark.control("PostgreSQL answers a COMMIT before it is written", row=5)
def test_a_database_that_writes_later_than_it_commits_is_seen(seed: int, tmp_path: Path) -> None:
    late = "-c synchronous_commit=off -c wal_writer_delay=10000"
    source = rig.plant(tmp_path, rig.NOT_ASKED_FOR)
    with served_by(tmp_path, "postgresql", "mosquitto", late, source) as (house, base):
        ordeal = rig.suffer(house, "database", 1, seed, drain_s=3, blow=fail_in_turn(base), centers=0)
    assert ordeal.agent.lost > 0
