"""kill -9 of each part at random moments under load: nothing promised is lost, nothing counts twice (P1).

The controls plant the bugs that this suite exists for, in a copy of the code, and must see it go red.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults import rig
from tests.faults.databases import Database, Postgres, Sqlite
from tests.faults.mosquitto import mosquitto


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
@pytest.mark.parametrize(("victim", "database", "broker"), KILLED, ids=" ".join)
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


@contextmanager
def served_by(folder: Path, database: str, broker: str) -> Iterator[tuple[rig.House, Database]]:
    disk = folder / "disk"
    disk.mkdir()
    base: Database = Postgres(disk) if database == "postgresql" else Sqlite(disk)
    house = rig.House(folder, server=disk, database=base.url)
    if broker == "mosquitto":
        house.argv["broker"] = mosquitto(house)
    try:
        yield house, base
    finally:
        base.kill()


RECEIPT_BEFORE_COMMIT = [
    (
        "collector/ingest.py",
        "                filed = self._file(conn, messages, now_ms)\n        except",
        "                filed = self._file(conn, messages, now_ms)\n"
        "                self.early([self._sealed(each, nonce, now_ms, pace_ms) for each in filed.receipts])\n"
        "                import time; time.sleep(0.25)\n"
        "        except",
    ),
    (
        "collector/listener.py",
        "        self._ingest = ingest\n",
        "        self._ingest = ingest; ingest.early = publish\n",
    ),
]
SENT_TWICE = [
    (
        "agent/uplink.py",
        "        client.publish(wire.batch_topic(self._identity.device), wire.seal",
        "        client.publish(wire.batch_topic(self._identity.device), wire.seal(body, self._identity.sign), qos=1)\n"
        "        client.publish(wire.batch_topic(self._identity.device), wire.seal",
    )
]
DEDUPE_REMOVED = [
    *SENT_TWICE,
    (
        "collector/filing.py",
        "        gaps = missing(spool.ranges, run.first, run.last)\n        if len",
        "        gaps = [(run.first, run.last)]\n        if len",
    ),
]
FORGOTTEN_WHEN_SENT = [
    (
        "agent/uplink.py",
        '        live = step.reason != "backlog"\n        body',
        '        live = step.reason == "live"\n'
        "        for group in step.groups:\n"
        "            self._spool.forget(*group.ident[:1], group.first_seq, group.ident[1], group.after.hex())\n"
        "        body",
    ),
]


def test_every_batch_sent_twice_counts_once(seed: int, tmp_path: Path) -> None:
    ordeal = rig.suffer(rig.House(tmp_path, source=rig.plant(tmp_path, SENT_TWICE)), "agent", 2, seed)
    assert ordeal.clean, ordeal


def test_a_receipt_before_the_commit_is_seen(seed: int, tmp_path: Path) -> None:
    house = rig.House(tmp_path, source=rig.plant(tmp_path, RECEIPT_BEFORE_COMMIT))
    assert not rig.suffer(house, "collector", 4, seed, drain_s=10).clean


def test_a_missing_dedupe_is_seen(seed: int, tmp_path: Path) -> None:
    house = rig.House(tmp_path, source=rig.plant(tmp_path, DEDUPE_REMOVED))
    assert not rig.suffer(house, "agent", 2, seed, drain_s=10).clean


def test_an_agent_that_forgets_what_it_only_sent_is_seen(seed: int, tmp_path: Path) -> None:
    house = rig.House(tmp_path, source=rig.plant(tmp_path, FORGOTTEN_WHEN_SENT))

    def both(_turn: int, _chance: random.Random) -> None:
        house.kill("collector")
        time.sleep(1.2)  # two cycles of the agent go to a broker without a subscriber
        house.kill("agent")
        house.start("agent")
        house.start("collector")
        house.wait_healthy()

    assert not rig.suffer(house, "collector", 2, seed, drain_s=10, blow=both).clean
