"""A new root, and no gateway is locked out: not one with a session, not one whose certificate ran out, not one that was
away for 90 days and knows the old root alone. Each joins, renews and delivers over real TLS at door and broker.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent import identity
from agent.uplink import trust
from agent.uplink.collector_client import CollectorUnreachable
from agent.uplink.renew import ISOLATED_S, Renewal
from collector.store import schema
from tests.agent.uplink.test_renew import expire, held, joined, linked, now_ms, until
from tests.faults import rig
from tests.helpers.collector_side import House

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
READINGS = 3


@dataclass
class Gateway:
    """One of the fleet; `days` since it made its certificate, which lasts 30."""

    state: Path
    mine: identity.Identity
    days: int
    since_receipt_s: float = 0.0
    failure: str = ""
    took_s: float = 0.0
    renewal: Renewal = field(init=False)

    def __post_init__(self) -> None:
        clock = trust.TrustedClock()
        self.renewal = Renewal(
            self.state, self.mine, clock, chance=lambda: 0.0, since_receipt_s=lambda: self.since_receipt_s
        )

    @property
    def is_of(self) -> str:
        return held(self.state).issuer.rfc4514_string()

    async def deliver(self) -> None:
        """Renews if that is due, and sends until all is receipted."""
        began_s = time.monotonic()
        try:
            await asyncio.to_thread(self.renewal.poll)
            async with linked(self.mine, self.state, self.renewal, READINGS) as (_, spool):
                await until(lambda: spool.stats().readings == 0, 20)
        except (CollectorUnreachable, TimeoutError) as error:
            self.failure = str(error) or type(error).__name__
        self.took_s = time.monotonic() - began_s


@dataclass
class Scene:
    """A collector that can be started again, and a fleet."""

    folder: Path
    house: House = field(init=False)
    stack: ExitStack = field(default_factory=ExitStack)
    fleet: list[Gateway] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.house = House(self.folder / "collector", self.stack)

    def restart(self) -> None:
        self.stack.close()
        self.stack = ExitStack()
        self.house = House(self.folder / "collector", self.stack, again=self.house)

    def join(self, days: int) -> Gateway:
        state = self.folder / f"gateway-{len(self.fleet)}"
        mine = joined(self.house, state)
        self.fleet.append(Gateway(state, mine, days))
        return self.fleet[-1]

    def pass_days(self) -> None:
        """All certificates are as old as they should be; what the collector wrote of each moves with it."""
        for gateway in self.fleet:
            if gateway.days:
                expire(self.house, gateway.mine, gateway.state, gateway.days)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "collector", "ca", *words, "--data", str(self.folder / "collector")]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, cwd=rig.ROOT)

    def roll(self) -> None:
        assert self.command("rollover").returncode == 0
        self.house.keeper.renew()  # what it does every minute

    def shut_out(self) -> list[str]:
        return list(json.loads(self.command("retire", "--dry-run", "--json").stdout)["shut_out"])

    def deliver(self, gateways: list[Gateway]) -> list[str]:
        """The failures; all at once, as they would come."""

        async def story() -> None:
            at_once = asyncio.Semaphore(8)

            async def one(gateway: Gateway) -> None:
                async with at_once:
                    await gateway.deliver()

            await asyncio.gather(*map(one, gateways))

        asyncio.run(story())
        return [gateway.failure for gateway in gateways if gateway.failure]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.stack.close()


def told(what: str, gateways: list[Gateway]) -> None:
    took = sorted(gateway.took_s for gateway in gateways)
    n = len(took)
    print(f"{what}: n {n}, delivered after {took[n // 2]:.2f} s (median), {took[-1]:.2f} s (worst); 3/n {3 / n:.3f}")


@pytest.mark.slow
@pytest.mark.row(34)
def test_over_a_rollover_no_gateway_is_locked_out(scene: Scene, torture: bool) -> None:
    """Fresh, due, just expired, away for 60 and for 90 days; the old root is retired in between."""
    times = 20 if torture else 1
    for days in (0, 16, 31, 60, 90, 90) * times:
        scene.join(days)
    scene.pass_days()
    sleepers = [gateway for gateway in scene.fleet if gateway.days == 90][::2]
    awake = [gateway for gateway in scene.fleet if gateway not in sleepers]
    old = scene.fleet[0].is_of

    scene.roll()
    assert scene.deliver(awake) == []
    told("both roots trusted", awake)
    fresh = [gateway for gateway in scene.fleet if not gateway.days]
    assert {gateway.is_of for gateway in fresh} == {old}
    assert old not in {gateway.is_of for gateway in awake if gateway.days}

    refused = scene.command("retire")
    assert (refused.returncode, "wait 30 days from the rollover" in refused.stderr) == (1, True)
    assert scene.shut_out() == sorted(gateway.mine.device for gateway in fresh)
    assert scene.command("retire", "--force").returncode == 0
    scene.restart()
    for gateway in fresh:  # the broker refuses them now, and after an hour without a receipt they ask
        gateway.since_receipt_s = ISOLATED_S
    assert scene.shut_out() == sorted(gateway.mine.device for gateway in fresh)
    assert scene.deliver(scene.fleet) == []
    told("the old root retired", scene.fleet)
    assert scene.shut_out() == []
    assert old not in {gateway.is_of for gateway in scene.fleet}
    sent = READINGS * (len(awake) + len(scene.fleet))
    assert scene.house.count(schema.readings["gateway"]) == sent


@pytest.mark.slow
@pytest.mark.row(34)
def test_a_gateway_that_slept_through_two_rollovers_and_a_new_key_of_the_server_delivers(scene: Scene) -> None:
    gateway = scene.join(90)
    scene.pass_days()
    before = scene.house.authority.files("server").key.read_bytes()
    for _ in range(2):
        scene.roll()
        assert scene.command("retire").returncode == 0
    scene.restart()
    assert scene.house.authority.files("server").key.read_bytes() != before
    assert scene.deliver([gateway]) == []
    assert held(gateway.state).not_valid_after_utc.timestamp() * 1000 > now_ms()


@pytest.mark.control("the old root is dropped at once, and nobody vouches for the new one", row=34)
def test_a_root_that_is_only_replaced_locks_the_sleeper_out(scene: Scene) -> None:
    gateway = scene.join(90)
    scene.pass_days()
    scene.roll()
    (scene.folder / "collector" / "ca" / "cross-2.pem").unlink()
    assert scene.command("retire").returncode == 0
    (scene.folder / "collector" / "ca" / "server.crt").unlink()
    scene.restart()
    assert "not of the collector that was pinned" in scene.deliver([gateway])[0]


@pytest.mark.slow
@pytest.mark.control("the old root is retired under those that still show its certificate and never ask", row=34)
def test_an_old_root_retired_too_early_is_seen(scene: Scene) -> None:
    gateway = scene.join(0)
    scene.roll()
    assert scene.command("retire", "--force").returncode == 0
    scene.restart()

    async def story() -> None:
        async with linked(gateway.mine, gateway.state, gateway.renewal, READINGS) as (link, spool):
            await until(lambda: link.view.detail != "")
            await asyncio.sleep(2)
            assert spool.stats().readings == READINGS

    asyncio.run(story())
