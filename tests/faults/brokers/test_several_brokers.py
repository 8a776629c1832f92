"""Several brokers, each by itself (`[broker] also`): gateways change over when one dies, the collector listens at all,
and what comes twice, by one and by another, counts once.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from paho.mqtt import client as mqtt

from agent import identity, wire
from agent.common.mqtt import Client as MqttClient
from agent.spool.queue import Spool
from agent.uplink.session import Uplink
from agent.uplink.window import STABLE_S
from collector.brokers.endpoints import Address
from collector.common.config import BrokerSection
from collector.ingest.mqtt.subscriber import Subscriber
from collector.store import Store, schema
from tests.agent.uplink.test_renew import joined, linked, now_ms, renewal_of, stamp, until
from tests.faults import rig
from tests.faults.brokers.kept_broker import Kept, kept
from tests.faults.makes import Client, listening
from tests.faults.mosquitto import mosquitto
from tests.faults.stacks import SENT_TWICE, served_by
from tests.helpers.collector_side import House
from tests.helpers.ports import free_ports

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_gateways_are_told_every_broker_the_best_first() -> None:
    settings = BrokerSection(
        tls_listen="192.0.2.1:8883",
        websocket_listen="192.0.2.1:443",
        also=("mqtts://192.0.2.2", "wss://10.0.0.3:444"),
        public_also=("192.0.2.2:8884", "nabz.example:443"),
    )
    assert [(way.host, way.port, way.tls, way.transport) for way in settings.ways] == [
        ("192.0.2.1", 8883, True, "tcp"),
        ("192.0.2.2", 8884, True, "tcp"),
        ("nabz.example", 443, True, "websockets"),
        ("192.0.2.1", 443, True, "websockets"),
    ]
    with pytest.raises(ValueError, match="public_also has 1 addresses, also 2; name one for each"):
        BrokerSection(also=("mqtts://192.0.2.2", "mqtts://192.0.2.3"), public_also=("192.0.2.2:8884",))


@dataclass
class First:
    """Nabz's own broker in a process of its own, to be killed outright."""

    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            argv = rig.House.collector("broker", "--listen", f"127.0.0.1:{self.port}")
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=rig.ROOT)
        listening(self.port, self.process, self.log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Scene:
    """`first` is Nabz's own broker, `second` a Mosquitto with TLS; a listener at each, one ingest behind them."""

    house: House
    first: First
    second: Kept
    listeners: list[Subscriber]
    gateways: list[tuple[identity.Identity, Path]]

    def wait_for_listeners(self) -> None:
        for listener in self.listeners:
            assert listener.connected.wait(60)

    def numbers(self) -> list[tuple[str, int]]:
        table = schema.readings["gateway"].c
        with self.house.store.read() as conn:
            return sorted((row.spool, row.seq) for row in conn.execute(sa.select(table.spool, table.seq)))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        house = House(tmp_path / "collector", stack)
        first = First(free_ports(1)[0], tmp_path / "first.log")
        first.start()
        stack.callback(first.kill)
        second = stack.enter_context(kept("mosquitto", house, tmp_path / "second"))
        own = house.authority.files("service")
        addresses = [
            Address("127.0.0.1", first.port),
            Address("127.0.0.1", second.tls, tls=True, ca=own.ca, cert=own.cert, key=own.key),
        ]
        listeners = [Subscriber(address, house.ingest, lambda _touched: None, now_ms) for address in addresses]
        for listener in listeners:
            listener.start()
            stack.callback(listener.stop)
        ways = [
            identity.BrokerEndpoint("127.0.0.1", first.port),
            identity.BrokerEndpoint("127.0.0.1", second.tls, tls=True),
        ]
        states = [tmp_path / f"gateway-{number}" for number in range(3)]
        gateways = [(replace(joined(house, state), brokers=ways), state) for state in states]
        gateways[-1] = (replace(gateways[-1][0], brokers=ways[:1]), states[-1])
        made = Scene(house, first, second, listeners, gateways)
        made.wait_for_listeners()
        yield made


def echo(scene: Scene, stack: ExitStack, mine: identity.Identity) -> list[bytes]:
    """Whatever a gateway says at the first broker is said at the second too, with its own papers. What was said."""
    assert mine.tls is not None
    there = Client(scene.second.tls, mine.tls.ca, mine.tls, mine.device)  # type: ignore[arg-type]
    stack.callback(there.close)
    messages: list[bytes] = []

    def pass_on(_client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        there.says(message.topic, bytes(message.payload))
        messages.append(bytes(message.payload))

    here = MqttClient(mqtt.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    here.on_message = pass_on
    here.connect("127.0.0.1", scene.first.port)
    here.subscribe(wire.batch_topic(mine.device), 1)
    here.loop_start()
    stack.callback(here.leave)
    return messages


def a_reading() -> bytes:
    return wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=1.0))


async def deliver(links: list[tuple[Uplink, Spool]]) -> float:
    """Something new at each gateway: how long until all of it is receipted, in seconds."""
    for link, spool in links:
        spool.append([a_reading()], "high", now_ms())
        link.readings_waiting()
    return await until(lambda: all(spool.stats().readings == 0 for _, spool in links), 90)


@pytest.mark.slow
def test_gateways_change_over_between_brokers_and_back_and_nothing_is_lost_or_doubled(scene: Scene) -> None:
    """The last gateway was told of the first broker alone: it shows what would be without the others."""

    async def story(stack: ExitStack) -> tuple[list[float], list[bytes], int]:
        async with AsyncExitStack() as running:
            messages = echo(scene, stack, scene.gateways[0][0])
            links = [
                await running.enter_async_context(linked(mine, state, renewal_of(mine, state), 0))
                for mine, state in scene.gateways
            ]
            took = [await deliver(links) for _ in range(3)]
            await until(lambda: len(messages) >= 3)
            scene.first.kill()
            links[-1][1].append([a_reading()], "high", now_ms())
            took.append(await deliver(links[:-1]))
            assert links[-1][1].stats().readings == 1
            await asyncio.to_thread(scene.first.start)
            await asyncio.to_thread(scene.wait_for_listeners)
            await until(lambda: links[-1][1].stats().readings == 0, 60)
            scene.second.kill()
            took.append(await deliver(links))
            sent = sum(link.view.counts["sent"] for link, _ in links)
        return took, messages, sent

    with ExitStack() as stack:
        took, messages, sent = asyncio.run(story(stack))
    print(
        f"delivered after {took[1]:.2f} s, the first killed: {took[3]:.1f} s, the second killed: {took[4]:.1f} s; "
        f"{sent} batches sent, {len(messages)} of them twice"
    )
    assert len(messages) >= 3
    numbers = scene.numbers()
    assert len(numbers) == len(set(numbers)) == 3 * 5
    spools = {spool for spool, _ in numbers}
    assert numbers == sorted((spool, seq) for spool in spools for seq in range(1, 6))


@pytest.mark.slow
@pytest.mark.parametrize(("database", "brokers"), [("sqlite", "amqtt"), ("postgresql", "mosquitto")])
@pytest.mark.parametrize("bug", [(), SENT_TWICE], ids=["", "every batch sent twice"])
def test_of_two_brokers_one_dies_again_and_again(
    database: str, brokers: str, bug: list[tuple[str, str, str]], seed: int, torture: bool, tmp_path: Path
) -> None:
    """In processes of their own, with workers at both where the database allows it."""
    kills = 20 if torture else 3
    with served_by(tmp_path, database, brokers) as (house, _base):
        house.source = rig.plant(tmp_path, bug) if bug else rig.ROOT
        (second,) = free_ports(1)
        house.argv["second"] = mosquitto(house, port=second)
        text = house.collector_toml.read_text().replace(
            "[broker]\n", f'[broker]\nalso = ["mqtt://127.0.0.1:{second}"]\n'
        )
        house.collector_toml.write_text(text + ("[ingest]\nworkers = 2\n" if brokers == "mosquitto" else ""))
        took: list[float] = []

        def blow(turn: int, chance: random.Random) -> None:
            victim = ("broker", "second")[turn % 2]
            time.sleep(
                STABLE_S + 5
            )  # a session of less than a minute is no success, and the pauses would go on growing
            house.kill(victim)
            time.sleep(chance.uniform(0, 1))
            began_s, before = time.monotonic(), newest_ms(house)
            rig.wait_for(lambda: newest_ms(house) > before + 2000, "readings by the other broker", 120)
            took.append(time.monotonic() - began_s)
            house.start(victim)

        house.start("second")
        try:
            ordeal = rig.suffer(house, "broker", kills, seed, blow=blow)
        finally:
            house.stop("second")
    took.sort()
    print(
        f"{database}, {brokers}, {kills} brokers killed: {ordeal}, the agent was heard again after "
        f"{took[len(took) // 2]:.1f} s (median), {took[-1]:.1f} s (worst); 3/n {3 / ordeal.agent.promised:.1e}"
    )
    assert ordeal.clean, ordeal
    assert took[-1] < 60


def newest_ms(house: rig.House) -> int:
    """When the newest reading of the real agent's gateway probe was taken."""
    table = schema.readings["gateway"].c
    with closing(Store.open(house.database)) as store, store.read() as conn:
        return int(conn.scalar(sa.select(sa.func.max(table.wall_ms)).where(table.center == "FAULT-1")) or 0)
