"""Two independent Mosquittos, each on a network of its own: one dies, one is cut off without a word, both come back.

Needs root, for the network namespaces.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.uplink.window import STABLE_S
from tests.faults import rig
from tests.faults.brokers.test_several_brokers import newest_ms
from tests.faults.mosquitto import mosquitto
from tests.faults.stacks import served_by

PORT = 1883
LIVE_S = 60.0  # promised of a gateway that has a second broker
TURNS = (("broker", "dies"), ("second", "is cut off"), ("broker", "is cut off"), ("second", "dies"))


@dataclass(frozen=True)
class Network:
    """One that holds a broker alone, at `address`, behind a cable that can be pulled out at the broker's end."""

    name: str
    number: int

    @property
    def address(self) -> str:
        return f"10.77.{self.number}.2"

    def inside(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]

    def plug(self, way: str) -> None:
        """`way` is up or down. Whoever sends hears nothing of it: what is sent is lost."""
        subprocess.run(self.inside("ip", "link", "set", f"{self.name}b", way), check=True)


@contextmanager
def network(number: int) -> Iterator[Network]:
    made = Network(f"nz{os.getpid() % 100_000}{number}", number)
    for words in (
        f"netns add {made.name}",
        f"link add {made.name}a type veth peer name {made.name}b netns {made.name}",
        f"addr add 10.77.{number}.1/24 dev {made.name}a",
        f"link set {made.name}a up",
        f"-n {made.name} addr add {made.address}/24 dev {made.name}b",
        f"-n {made.name} link set {made.name}b up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    try:
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.name], check=True)


@contextmanager
def on_networks(folder: Path) -> Iterator[tuple[rig.House, dict[str, Network]]]:
    """The house with two brokers elsewhere; agent and collector know both."""
    with ExitStack() as stack:
        house, _ = stack.enter_context(served_by(folder, "sqlite", "mosquitto"))
        networks = {name: stack.enter_context(network(at)) for at, name in enumerate(("broker", "second"), 1)}
        for name, place in networks.items():
            house.argv[name] = place.inside(*mosquitto(house, port=PORT, host=place.address))
        text, (first, second) = house.collector_toml.read_text(), (place.address for place in networks.values())
        old = f'url = "mqtt://127.0.0.1:{house.broker}"\n'
        assert old in text
        new = f'url = "mqtt://{first}:{PORT}"\nalso = ["mqtt://{second}:{PORT}"]\ntrust_network = true\n'
        house.collector_toml.write_text(text.replace(old, new))
        house.start("second")
        stack.callback(house.stop, "second")
        yield house, networks


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_of_two_brokers_one_dies_or_is_cut_off_and_comes_back(seed: int, tmp_path: Path) -> None:
    took: dict[tuple[str, str], float] = {}
    with on_networks(tmp_path) as (house, networks):

        def blow(turn: int, chance: random.Random) -> None:
            victim, fate = TURNS[turn - 1]
            time.sleep(STABLE_S + 5)  # as in test_several_brokers
            began_s, before = time.monotonic(), newest_ms(house)
            house.kill(victim) if fate == "dies" else networks[victim].plug("down")
            rig.wait_for(lambda: newest_ms(house) > before + 2000, "readings by the other broker", 180)
            took[victim, fate] = time.monotonic() - began_s
            time.sleep(chance.uniform(0, 5))
            house.start(victim) if fate == "dies" else networks[victim].plug("up")

        ordeal = rig.suffer(house, "broker", len(TURNS), seed, blow=blow, centers=10)
    print(", ".join(f"{name} {fate}: heard again after {seconds:.1f} s" for (name, fate), seconds in took.items()))
    print(ordeal)
    assert ordeal.clean, ordeal
    assert max(took.values()) < LIVE_S
