"""A broker that allows a smaller keepalive than ours is obeyed: a real one, behind a listener that rejects more."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import wire
from agent.identity import BrokerEndpoint, Identity
from agent.spool.queue import Spool
from agent.uplink.keepalive import Keepalives
from agent.uplink.session import Uplink
from tests.helpers.strict_listener import strict_listener
from tests.helpers.waiting import until


def stamp() -> wire.Stamp:
    return wire.Stamp(wall_ms=time.time_ns() // 1_000_000, mono_ms=1, boot="1a2b3c4d", clock="synced")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool.db", stamp=stamp)
    yield opened
    opened.close()


def test_steps_go_down_and_begin_anew_when_it_was_not_the_keepalive() -> None:
    endpoint, other, keepalives = BrokerEndpoint("a", 1), BrokerEndpoint("b", 1), Keepalives()
    steps = []
    while keepalives.refused(endpoint):
        steps.append(keepalives.of(endpoint))
    assert steps == [60, 30, 10]
    assert (keepalives.of(endpoint), keepalives.of(other)) == (300, 300)


@pytest.mark.parametrize(("most_s", "steps"), [(60, [300, 60]), (10, [300, 60, 30, 10])])
def test_a_brokers_smaller_keepalive_is_obeyed(enrolled: Identity, spool: Spool, most_s: int, steps: list[int]) -> None:
    async def deliver(mine: Identity) -> None:
        raw = wire.encode_reading(wire.GatewayReading(at=stamp(), cpu_pct=1.0))
        spool.append([raw], "low", stamp().wall_ms)
        uplink = Uplink(mine, spool, stamp=stamp, on_task=print, chance=lambda: 0.0)
        running = asyncio.create_task(uplink.run())
        try:
            await until(lambda: spool.stats().readings == 0)
        finally:
            running.cancel()
            await asyncio.wait([running])

    with strict_listener(enrolled.broker_port, most_s) as (port, wanted):
        asyncio.run(deliver(dataclasses.replace(enrolled, brokers=(BrokerEndpoint("127.0.0.1", port),))))
    assert wanted == steps
