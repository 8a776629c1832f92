"""The broker is a lossy wire: its store may vanish and another make may take its place while gateways have a backlog.

Mosquitto (Debian) with its persistence on, killed and robbed of its store; then the embedded amqtt on the same port;
then Mosquitto again, empty. Every promise of an agent and of 40 simulated gateways must be held once.
"""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from tests.faults import rig
from tests.faults.mosquitto import mosquitto
from tests.faults.stacks import FORGOTTEN_WHEN_SENT


def replace_broker(house: rig.House, makes: list[list[str]], turn: int, chance: random.Random) -> None:
    """While the collector is away the broker alone has what is sent; then it goes too, and its store, and its make."""
    house.kill("collector")
    time.sleep(chance.uniform(1, 2))
    house.kill("broker")
    shutil.rmtree(house.folder / "mosquitto")
    (house.folder / "mosquitto").mkdir()
    house.argv["broker"] = makes[turn % len(makes)]
    house.start("broker")
    house.start("collector")


def suffered(house: rig.House, turns: int, seed: int, drain_s: float = 90, centers: int = 40) -> rig.Ordeal:
    makes = [mosquitto(house), house.argv["broker"], mosquitto(house)]
    house.argv["broker"] = makes[0]
    ordeal = rig.suffer(
        house,
        "broker",
        turns,
        seed,
        drain_s,
        blow=lambda turn, chance: replace_broker(house, makes, turn, chance),
        centers=centers,
    )
    print(turns, "brokers lost with their stores:", ordeal)
    return ordeal


@pytest.mark.slow
@pytest.mark.row(3, 4)
def test_brokers_that_lose_everything_and_change_their_make_cost_no_reading(
    seed: int, torture: bool, tmp_path: Path
) -> None:
    ordeal = suffered(rig.House(tmp_path), 30 if torture else 2, seed)
    assert ordeal.fleet.promised > 100
    assert ordeal.clean, ordeal


@pytest.mark.slow  # the same bug is seen in half the time by test_kill_steps
@pytest.mark.control("the agent forgets what it has only sent", row=4)
def test_an_agent_that_trusts_the_broker_is_seen(seed: int, tmp_path: Path) -> None:
    house = rig.House(tmp_path, source=rig.plant(tmp_path, FORGOTTEN_WHEN_SENT))
    ordeal = suffered(house, 4, seed, drain_s=3, centers=0)
    assert ordeal.agent.lost > 0
