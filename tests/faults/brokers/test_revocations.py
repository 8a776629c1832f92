"""A revocation reaches a live session at brokers of other makes, kept by the collector, and nobody else's.

The gateway is the real uplink with its real identity; the broker's settings are what `broker-config` writes.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509

from agent import identity, wire
from agent.uplink import trust
from collector.access import devices
from collector.brokers.endpoints import Address
from collector.brokers.external import ExternalBroker
from collector.ingest.mqtt.subscriber import Subscriber
from collector.store import schema
from tests.agent.uplink.test_renew import joined, linked, now_ms, renewal_of, stamp, until
from tests.faults.brokers.kept_broker import Kept, kept
from tests.helpers.collector_side import House

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
LIMIT_S = 300.0
LOOK_S = 0.5  # the product looks every 10 s; that is added below


@dataclass
class Scene:
    """`honest` has a session throughout; `gateways` are revoked one after another."""

    house: House
    broker: Kept
    outside: ExternalBroker
    honest: tuple[identity.Identity, Path]
    gateways: list[tuple[identity.Identity, Path]]

    def look(self) -> None:
        now, settings = now_ms(), self.house.settings
        with self.house.store.read() as conn:
            people, serials = devices.people(conn, settings.broker.services), devices.revoked_serials(conn, now)
            lately = devices.revoked(conn, now - 60_000)
        crl = self.house.authority.write_crl(serials, now)
        self.outside.update(people, lately, self.house.authority.files("server"), crl, now)

    def revoke(self, device: str) -> None:
        with self.house.store.write() as conn:
            devices.revoke(conn, device, "Ali", "stolen", now_ms())


@pytest.fixture(params=["mosquitto", pytest.param("nats", marks=pytest.mark.slow)])
def scene(request: pytest.FixtureRequest, tmp_path: Path, torture: bool) -> Iterator[Scene]:
    with ExitStack() as stack:
        house = House(tmp_path / "collector", stack)
        joining = [tmp_path / f"gateway-{number}" for number in range(21 if torture else 2)]
        people = [(joined(house, state), state) for state in joining]
        broker = stack.enter_context(kept(request.param, house, tmp_path / "broker"))
        way = identity.BrokerEndpoint("127.0.0.1", broker.tls, tls=True)
        people = [(replace(mine, brokers=[way]), state) for mine, state in people]
        own = house.authority.files("service")
        address = Address("127.0.0.1", broker.tls, tls=True, ca=own.ca, cert=own.cert, key=own.key)
        listener = Subscriber(address, house.ingest, lambda _touched: None, now_ms)
        listener.start()
        stack.callback(listener.stop)
        assert listener.connected.wait(60)
        outside = ExternalBroker(broker.settings(), house.authority)
        yield Scene(house, broker, outside, people[0], people[1:])


async def revoked_live(scene: Scene, mine: identity.Identity, state: Path) -> float:
    """Seconds from the row in the database to the end of the session; it must not come back, or be heard."""
    renewal = renewal_of(mine, state)
    async with linked(mine, state, renewal) as (link, spool):
        await until(lambda: spool.stats().readings == 0, 30)
        began_s = time.monotonic()
        scene.revoke(mine.device)
        raw = wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=99.0))
        while link.view.state == "connected":
            assert time.monotonic() - began_s < 60
            await asyncio.to_thread(scene.look)
            await asyncio.sleep(LOOK_S)
        took_s = time.monotonic() - began_s
        spool.append([raw], "high", now_ms())
        link.readings_waiting()
        for _ in range(4):
            await asyncio.to_thread(scene.look)
            await asyncio.sleep(LOOK_S)
            assert link.view.state != "connected"
        assert spool.stats().readings == 1
    return took_s


@pytest.mark.row(33)
def test_a_revocation_ends_a_live_session_at_brokers_of_other_makes(scene: Scene) -> None:
    async def story() -> list[float]:
        honest, state = scene.honest
        async with linked(honest, state, renewal_of(honest, state)) as (link, spool):
            await until(lambda: spool.stats().readings == 0, 30)
            sent = link.view.counts["sent"]
            took = [await revoked_live(scene, *gateway) for gateway in scene.gateways]
            assert (link.view.state, link.view.detail) == ("connected", "")
            spool.append([wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=1.0))], "high", now_ms())
            link.readings_waiting()
            await until(lambda: spool.stats().readings == 0, 30)
            assert link.view.counts["sent"] == sent + 1, "one session all along"
        return took

    took = sorted(asyncio.run(story()))
    print(
        f"{scene.broker.make}: n {len(took)}, session over after {took[len(took) // 2]:.2f} s (median), "
        f"{took[-1]:.2f} s (worst), and up to 10 s until the collector looks"
    )
    assert took[-1] + 10 < LIMIT_S
    assert scene.house.count(schema.readings["gateway"]) == 3 * (1 + len(took)) + 1


@pytest.mark.slow
@pytest.mark.row(33)
@pytest.mark.parametrize("scene", ["mosquitto"], indirect=True)
def test_at_mosquittos_websocket_door_a_revoked_gateway_is_put_out_and_then_mute(scene: Scene) -> None:
    """Its revocation list is not read there (2.0.11): it may come again, but it is neither heard nor told anything."""
    mine, state = scene.gateways[0]
    mine = replace(mine, brokers=[identity.BrokerEndpoint("127.0.0.1", scene.broker.websocket, True, "websockets")])

    async def story() -> None:
        async with linked(mine, state, renewal_of(mine, state)) as (link, spool):
            await until(lambda: spool.stats().readings == 0, 30)
            scene.revoke(mine.device)
            until_s = time.monotonic() + 60
            while link.view.state == "connected" and time.monotonic() < until_s:
                await asyncio.to_thread(scene.look)
            assert link.view.state != "connected"
            spool.append([wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=99.0))], "high", now_ms())
            link.readings_waiting()
            await asyncio.sleep(20)
            assert spool.stats().readings == 1

    asyncio.run(story())
    assert scene.house.count(schema.readings["gateway"]) == 3


@pytest.mark.control("a reload alone: Mosquitto leaves the session open, and NATS is not told", row=33)
def test_a_session_that_nobody_ends_is_seen(scene: Scene) -> None:
    """What a reload does by itself, too: at Mosquitto the gateway goes on, mute."""
    reloads = scene.broker.make == "mosquitto"
    scene.outside = ExternalBroker(
        scene.broker.settings(reload=reloads), scene.house.authority, end=lambda *_words: None
    )
    mine, state = scene.gateways[0]

    async def story() -> None:
        async with linked(mine, state, renewal_of(mine, state)) as (link, spool):
            await until(lambda: spool.stats().readings == 0, 30)
            scene.revoke(mine.device)
            for _ in range(4):
                await asyncio.to_thread(scene.look)
                await asyncio.sleep(LOOK_S)
            assert link.view.state == "connected"

    asyncio.run(story())


def shown(scene: Scene) -> x509.Certificate:
    """The certificate that the broker shows now."""
    mine = scene.honest[0].tls
    assert mine is not None
    context = trust.context(mine.ca, trust.TrustedClock(), mine)
    with (
        socket.create_connection(("127.0.0.1", scene.broker.tls), 5) as line,
        context.wrap_socket(line, server_hostname="127.0.0.1") as wrapped,
    ):
        return x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True) or b"")


@pytest.mark.slow
@pytest.mark.row(34)
def test_over_a_rollover_a_kept_broker_lets_in_old_and_new_and_no_revoked_one(scene: Scene) -> None:
    """Mosquitto wants a list of the revoked from each root, or refuses all that a new one named."""
    before = shown(scene)
    scene.house.authority.rollover(now_ms())
    scene.house.keeper.renew()
    scene.look()
    until_s = time.monotonic() + 60
    while shown(scene) == before and time.monotonic() < until_s:
        time.sleep(0.2)
    assert shown(scene) == x509.load_pem_x509_certificate(scene.house.authority.files("server").cert.read_bytes())
    way = scene.honest[0].brokers[0]
    states = [scene.honest[1].parent / f"new-{number}" for number in range(2)]
    fresh = [(replace(joined(scene.house, state), brokers=[way]), state) for state in states]
    scene.look()

    async def story() -> None:
        for mine, state in (scene.honest, *fresh):
            async with linked(mine, state, renewal_of(mine, state)) as (_, spool):
                await until(lambda: spool.stats().readings == 0, 30)
        await revoked_live(scene, *fresh[1])

    asyncio.run(story())
