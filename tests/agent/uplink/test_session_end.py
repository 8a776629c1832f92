"""The uplink ends at every stage of a session, and nothing that paho's thread still says comes too late."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from agent import wire
from agent.identity import BrokerEndpoint, Identity
from agent.spool.queue import Spool
from agent.uplink.session import SILENT_OF_SEVERAL_S, Uplink
from tests.helpers.peers import black_hole, gone, peer, silent, subscribed, welcome
from tests.helpers.waiting import until

ENDS_S = 25.0  # systemd kills the agent 30 s after it asked it to stop


def stamp() -> wire.Stamp:
    return wire.Stamp(wall_ms=time.time_ns() // 1_000_000, mono_ms=1, boot="1a2b3c4d", clock="synced")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with contextlib.closing(Spool(tmp_path / "spool.db", stamp=stamp)) as opened:
        yield opened


def uplink(mine: Identity, spool: Spool) -> Uplink:
    return Uplink(mine, spool, stamp=stamp, on_task=lambda _task: None, chance=lambda: 1.0)


# ---------------------------------------------------------------- what comes too late


def callbacks(link: Uplink, mine: Identity) -> list[Callable[[], object]]:
    """Everything that paho's thread may say of a session."""
    client = link._client(mine.brokers[0])
    fine, refused = ReasonCode(PacketTypes.CONNACK), ReasonCode(PacketTypes.CONNACK, "Not authorized")
    granted, denied = ReasonCode(PacketTypes.SUBACK, "Granted QoS 1"), ReasonCode(PacketTypes.SUBACK, "Not authorized")
    return [
        lambda: client.on_connect(client, None, ConnectFlags(False), fine, None),
        lambda: client.on_connect(client, None, ConnectFlags(False), refused, None),
        lambda: client.on_subscribe(client, None, 1, [granted], None),
        lambda: client.on_subscribe(client, None, 1, [denied], None),
        lambda: client.on_publish(client, None, 1, granted, None),
        lambda: client.on_message(client, None, MQTTMessage()),
        lambda: client.on_disconnect(client, None, DisconnectFlags(False), fine, None),
    ]


def test_what_paho_says_after_the_loop_is_closed_harms_nobody(enrolled: Identity, spool: Spool) -> None:
    async def made() -> list[Callable[[], object]]:
        return callbacks(uplink(enrolled, spool), enrolled)

    for late in asyncio.run(made()):
        late()


def test_what_an_old_session_says_late_is_no_news_of_the_new_one(enrolled: Identity, spool: Spool) -> None:
    async def story() -> None:
        link = uplink(enrolled, spool)
        old = callbacks(link, enrolled)
        new = callbacks(link, enrolled)
        for late in old:
            await asyncio.to_thread(late)
        await asyncio.sleep(0)
        assert link._events.empty()
        await asyncio.to_thread(new[0])
        await asyncio.sleep(0)
        assert link._events.get_nowait() == ("connected", None)

    asyncio.run(story())


# ---------------------------------------------------------------- a broker that is cut off


def test_a_broker_that_no_longer_answers_is_left_for_the_next(enrolled: Identity, spool: Spool) -> None:
    clock_s = [1000.0]

    async def story(mine: Identity) -> None:
        link = Uplink(
            mine, spool, stamp=stamp, on_task=lambda _task: None, chance=lambda: 0.0, now_s=lambda: clock_s[0]
        )
        running = asyncio.create_task(link.run())
        await until(lambda: link.view.counts["sent"])
        clock_s[0] += SILENT_OF_SEVERAL_S + 1
        link.readings_waiting()
        await until(lambda: link.view.counts["sent"] == 2)
        assert link._endpoints.current == enrolled.brokers[0]
        running.cancel()
        await asyncio.wait([running])

    spool.append([wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=1.0))], "high", stamp().wall_ms)
    with peer(subscribed) as mute:
        asyncio.run(story(replace(enrolled, brokers=[BrokerEndpoint("127.0.0.1", mute.port), *enrolled.brokers])))


# ---------------------------------------------------------------- ending at every stage


def at(mine: Identity, port: int, *, tls: bool = False) -> Identity:
    return replace(mine, brokers=[BrokerEndpoint("127.0.0.1", port, tls=tls)])


def ends(mine: Identity, spool: Spool, reached: Callable[[Uplink], bool], cancels: int) -> None:
    """Runs until a stage is reached; then it is cancelled so many times, and the loop ends."""
    began_s = [0.0]

    async def story() -> None:
        link = uplink(mine, spool)
        running = asyncio.create_task(link.run())
        await until(lambda: reached(link))
        began_s[0] = time.monotonic()
        for _ in range(cancels):
            running.cancel()
            await asyncio.sleep(0)

    asyncio.run(story())
    assert time.monotonic() - began_s[0] < ENDS_S
    assert f"paho-mqtt-client-{mine.device}" not in [thread.name for thread in threading.enumerate()]


@pytest.fixture(params=[0, 1, 3], ids=["with the loop", "cancelled", "cancelled thrice"])
def cancels(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_it_ends_while_the_way_to_the_broker_is_a_black_hole(enrolled: Identity, spool: Spool, cancels: int) -> None:
    with black_hole() as port:
        ends(at(enrolled, port), spool, lambda link: link.view.state == "connecting", cancels)


@pytest.mark.parametrize("behave", [silent, welcome, gone])
def test_it_ends_while_the_broker_has_gone_so_far_and_no_further(
    enrolled: Identity, spool: Spool, cancels: int, behave: Callable[[socket.socket], object]
) -> None:
    with peer(behave) as broker:
        ends(at(enrolled, broker.port), spool, lambda _link: broker.here.is_set(), cancels)


def test_it_ends_while_it_carries(enrolled: Identity, spool: Spool, cancels: int) -> None:
    ends(enrolled, spool, lambda link: link.view.state == "connected", cancels)


def test_it_ends_while_it_leaves(enrolled: Identity, spool: Spool, cancels: int) -> None:
    """The session is lost, and its end is under way."""
    with peer(gone) as broker:
        ends(at(enrolled, broker.port), spool, lambda link: link.view.state == "off" and broker.here.is_set(), cancels)
