"""A thousand simulated gateways get other settings, good and bad: the sender, the standing, and each gateway's own
decisions and file are the program's; lines that lose one message in twenty and the clock are played."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.config import AgentSettings
from agent.remote.settings import digest_of
from agent.remote.trial import RemoteSettings, SettingsRefused
from agent.remote.watch import TrialTimes, trial_end
from collector.common.messages import Message
from collector.register import centers
from collector.remote import layers, reports, standing
from collector.remote.layers import Layer
from collector.remote.sender import SettingsSender
from collector.store import Store, schema, upsert
from tests.collector.conftest import NOW, ROW, Gateway

pytestmark = pytest.mark.slow

COUNT, LOST = 1000, 0.05
CYCLE_S, LOOK_S = 60, 10  # a gateway's round, the sender's look
START_S, STEP_S = 2, 10  # an agent's start with other settings, the play's steps
KEY = Ed25519PrivateKey.generate()
TIMES = TrialTimes()
GOOD, BAD = {"speed": {"mode": "quick"}}, {"spool": {"max_mb": 16}}


def flat(values: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """As a person sets them: TABLE.KEY."""
    return {f"{table}.{key}": value for table, keys in values.items() for key, value in keys.items()}


class SimulatedGateway:
    """With the bad settings it reaches nobody. Times are seconds of the play."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.base = AgentSettings(agent=type(AgentSettings().agent)(state_dir=str(folder)))
        self.chance = chance
        self.begin(0.0)

    def begin(self, now_s: float) -> None:
        self.remote = RemoteSettings(self.base.state_dir)
        self.remote.start(self.base)
        self.begun_s, self.receipt_s, self.trial = now_s, None, self.remote.state.trial

    def round(self, now_s: float) -> wire.SettingsReport | None:
        """What its batch says, None when that does not arrive; its receipt comes at once."""
        report = self.remote.report()
        if report.digest == digest_of(GOOD | BAD) or self.chance.random() < LOST:
            return None
        self.receipt_s = now_s
        return report

    def take(self, document: wire.SettingsDocument, now_ms: int) -> bool:
        """Whether it starts anew with the document."""
        try:
            return self.remote.accept(document, self.base, now_ms)
        except SettingsRefused:
            return False

    def watch_trial(self, now_s: float) -> bool:
        """Whether it starts anew without what was on trial."""
        if self.trial is None or self.remote.state.trial is not self.trial:
            return False
        lasted_s = now_s - self.begun_s
        since_s = lasted_s if self.receipt_s is None else now_s - self.receipt_s
        end = trial_end(lasted_s, since_s, TIMES)
        if end == "proven":
            self.remote.prove()
        elif end is not None:
            self.remote.take_back(end, "")
        return end == "no_receipt"


class Fleet:
    """Plays step after step."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.chance, self.now_s = store, random.Random(7), 0
        enrolled = [Gateway(f"C-{number}") for number in range(COUNT)]
        with store.write() as conn:
            for one in enrolled:
                centers.add(conn, {"center": one.center, **ROW}, NOW)
            facts = [{"device": one.device, "center": one.center, "public_key": one.public_key, "enrolled_ms": NOW}
                     for one in enrolled]  # fmt: skip
            conn.execute(sa.insert(schema.devices), facts)
        self.centers = {one.device: one.center for one in enrolled}
        self.gateways = {device: SimulatedGateway(folder / device, self.chance) for device in self.centers}
        self.starts: list[tuple[int, str]] = []
        self.sent: list[str] = []
        self.sender = SettingsSender(store, KEY, self._publish, lambda: self.now_ms)

    @property
    def now_ms(self) -> int:
        return NOW + self.now_s * 1000

    def _publish(self, messages: Sequence[Message]) -> bool:
        for message in messages:
            body, _ = wire.unseal(message.payload, wire.MAX_SMALL_BYTES)
            task = wire.decode_task(body)
            self.sent.append(task.device)
            arrives = self.chance.random() >= LOST and task.settings is not None
            if arrives and self.gateways[task.device].take(task.settings, self.now_ms):
                heapq.heappush(self.starts, (self.now_s + START_S, task.device))
        return True

    def set(self, values: dict[str, Any], at_once: bool) -> None:
        with self.store.write() as conn:
            layers.change(conn, Layer("country"), flat(values), (), "Ayesha", "test", self.now_ms, at_once)

    def play(self, seconds: int) -> dict[int, int]:
        """How many are applied, by the seconds since now, at each look."""
        began_s, applied = self.now_s, {}
        for _ in range(seconds // STEP_S):
            self.now_s += STEP_S
            heard = self._heard()
            with self.store.write() as conn:
                batches = {(self.centers[device], device): report for device, report in heard.items()}
                reports.record(conn, batches, self.now_ms)
                upsert(conn, schema.pulse, [{"center": self.centers[device], "device": device, "heard_ms": self.now_ms}
                                            for device in heard])  # fmt: skip
            if self.now_s % LOOK_S == 0:
                self.sender.look()
                applied[self.now_s - began_s] = self.standing().count("applied")
        return applied

    def _heard(self) -> dict[str, wire.SettingsReport]:
        begun = set()
        while self.starts and self.starts[0][0] <= self.now_s:
            begun.add(heapq.heappop(self.starts)[1])
        heard = {}
        for number, (device, gateway) in enumerate(self.gateways.items()):
            if device in begun:
                gateway.begin(self.now_s)
            if gateway.watch_trial(self.now_s):
                heapq.heappush(self.starts, (self.now_s + START_S, device))
            is_due = device in begun or (self.now_s // STEP_S + number) % (CYCLE_S // STEP_S) == 0
            if is_due and (report := gateway.round(self.now_s)) is not None:
                heard[device] = report
        return heard

    def standing(self) -> list[standing.Standing]:
        with self.store.read() as conn:
            return [one.standing for one in standing.gateways(conn)]

    def running(self, values: dict[str, Any]) -> int:
        return sum(one.remote.report().digest == digest_of(values) for one in self.gateways.values())


@pytest.mark.parametrize("at_once", [False, True], ids=["in_rings", "at_once"])
def test_all_have_good_settings_and_none_is_lost_to_bad_ones(
    at_once: bool, sqlite_store: Store, tmp_path: Path
) -> None:
    fleet = Fleet(sqlite_store, tmp_path)
    fleet.play(2 * CYCLE_S)
    assert fleet.standing().count("applied") >= 0.98 * COUNT
    fleet.set(GOOD, at_once=at_once)
    applied = fleet.play(480 if at_once else 3000)
    most_s = next(second for second, count in applied.items() if count >= 0.99 * COUNT)
    print(f"good settings: {applied[max(applied)]} of {COUNT} applied, 99 % after {most_s} s, all after "
          f"{next((second for second, count in applied.items() if count == COUNT), None)} s")  # fmt: skip
    assert applied[max(applied)] == fleet.running(GOOD) == COUNT
    assert most_s <= (300 if at_once else 2700)
    if not at_once:
        rings = sorted(set(applied.values()))
        assert {0, 1, 10, 100} <= set(rings), "each ring waits for the one before"

    fleet.set(GOOD | BAD, at_once=at_once)
    reached = 0
    fleet.sent.clear()
    begun_s = fleet.now_s
    while fleet.now_s - begun_s < 900:
        fleet.play(30)
        reached = max(reached, COUNT - fleet.running(GOOD))
        if fleet.running(GOOD) == COUNT and fleet.standing().count("failed") == (COUNT if at_once else 1):
            break
    print(f"bad settings: on trial at {reached} at most, all back and told after {fleet.now_s - begun_s} s")
    assert fleet.running(GOOD) == COUNT
    assert len(set(fleet.sent)) == (COUNT if at_once else 1), "bad settings reach the first ring alone"
    fleet.sent.clear()
    fleet.play(180)
    assert not fleet.sent, "what failed is not sent again"
