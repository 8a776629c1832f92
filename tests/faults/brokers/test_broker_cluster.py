"""A NATS cluster of three machines by the settings of `broker-config`; one dies or is cut off, and comes back.

Nothing promised is lost or doubled: the agent and the collector go to another machine of the cluster by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import rig
from tests.faults.brokers.test_several_brokers import newest_ms
from tests.faults.machines import Machine, machines
from tests.faults.makes import tool

NAMES = ("n1", "n2", "n3")

BLOWS: dict[str, Callable[[Machine, list[str]], None]] = {
    "power": lambda node, _others: node.kill(),
    "cut off": lambda node, _others: node.cut(),
    "cut from its peers": lambda node, others: node.cut(*others),
}


class Brokers:
    """The machines, their folders kept by the collector (`[[broker.outside]]`)."""

    def __init__(self, house: rig.House, nodes: dict[str, Machine]) -> None:
        self.house, self.nodes = house, nodes
        urls = [f"mqtts://{node.address}:8883" for node in nodes.values()]
        text = house.collector_toml.read_text().replace(
            f'url = "mqtt://127.0.0.1:{house.broker}"\n', f'url = "{urls[0]}"\nalso = {urls[1:]}\ncluster = true\n'
        )
        for name, url in zip(nodes, urls, strict=True):
            folder = house.folder / name
            text += f'[[broker.outside]]\nmake = "nats"\nurl = "{url}"\nfolder = "{folder}"\n'
            text += f'reload = ["sh", "-c", "kill -HUP $(cat {folder}/pid) || true"]\n'
        house.collector_toml.write_text(text)

    def set_up(self) -> None:
        members = ",".join(f"{node.address}:6222" for node in self.nodes.values())
        for number, name in enumerate(self.nodes, start=1):
            words = ("--cluster", members, "--node", str(number), "--out", str(self.house.folder / name))
            config = ("--config", str(self.house.collector_toml))
            self.house.call(self.house.collector("broker-config", "nats", *words, *config))
        for name in self.nodes:
            self.start(name)

    def start(self, name: str) -> None:
        folder = self.house.folder / name
        process = self.nodes[name].start([tool("nats-server"), "-c", str(folder / "nats.conf")], folder / "log")
        (folder / "pid").write_text(str(process.pid))

    def serving(self) -> str:
        """The machine that the collector is at."""
        lines = [
            line for line in (self.house.folder / "collector.log").read_text().splitlines() if "subscribed:" in line
        ]
        return next(name for name, node in self.nodes.items() if f"broker={node.address}:8883" in lines[-1])

    def blow(self, how: str, name: str) -> float:
        """Seconds until a reading that was taken afterwards is held."""
        node, before_s, before_ms = self.nodes[name], time.monotonic(), time.time_ns() // 1_000_000
        BLOWS[how](node, [other.address for other in self.nodes.values() if other is not node])
        rig.wait_for(lambda: newest_ms(self.house) > before_ms + 2_000, f"readings, {name} being {how}", 180)
        seconds = round(time.monotonic() - before_s, 1)
        node.heal()
        if not node.processes:
            self.start(name)
        return seconds


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.row(2)
def test_of_a_cluster_one_machine_dies_or_is_cut_off_and_comes_back(torture: bool, tmp_path: Path) -> None:
    blows = 18 if torture else 3
    with machines(NAMES) as nodes:
        house = rig.House(tmp_path)
        brokers = Brokers(house, nodes)
        took: dict[str, list[float]] = {how: [] for how in BLOWS}
        try:
            house.start("collector")
            house.wait_healthy()
            brokers.set_up()
            house.join()
            house.start("agent")
            rig.wait_for(lambda: newest_ms(house) > 0, "the first readings", 120)
            for turn in range(blows):
                how = list(BLOWS)[turn % len(BLOWS)]
                took[how].append(brokers.blow(how, brokers.serving()))
                print(f"{turn + 1} of {blows}: {how}, {took[how][-1]} s", flush=True)
                time.sleep(10)  # the machine finds its peers again, and both sessions last a while
            account = rig.account(house, house.deliver(120))
        finally:
            house.close()
    print(f"{blows} times a machine of the cluster was lost: {account}; live again after {took} s")
    assert account.clean, account
    assert account.promised > 50 * blows
