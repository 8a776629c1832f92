"""A thousand simulated gateways and the collector's judgement of rings, over weeks, by the decisions of the program."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from agent.common.releases import trial as releases
from agent.common.releases.trial import MAX_STARTS, TRIAL_S, Release, ReleaseState
from agent.updates.offers import GatewayPlace, OfferedRelease, Pace, Ring, choose
from agent.updates.watch import due_ms
from collector.remote.updates.health import DAY_MS, GatewayFacts, RingHealth, judge_ring, next_open

NOW = 1_795_000_000_000
OLD, NEW = "0.3.0", "0.4.0"
HOUR_MS = 3_600_000
RINGS = [
    Ring(centers=["C-0"]),
    Ring(share=0.01, from_ms=NOW + DAY_MS),
    Ring(share=0.1, from_ms=NOW + 3 * DAY_MS),
    Ring(share=1.0, from_ms=NOW + 7 * DAY_MS),
]
OFFER = OfferedRelease(version=NEW, path="x.zip", needs="0.2.0", rings=RINGS)
FILE = Release(NEW, "f" * 64)


@dataclass
class SimulatedGateway:
    """`fault` is what the new version does here: crash, mute, worse; empty: nothing."""

    center: str
    device: str
    fault: str
    state: ReleaseState = field(default_factory=ReleaseState)
    got: bool = False

    @property
    def running(self) -> str:
        return self.state.in_force.version if self.state.in_force else OLD

    def look(self, pace: Pace, now_ms: int) -> None:
        """One night: what is offered is tried, and its trial ends within the same hour."""
        place = GatewayPlace(center=self.center, device=self.device, running=self.running, installed=OLD)
        if choose([OFFER], {NEW: pace}, place, now_ms).code != "offered" or not releases.may_try(self.state, FILE):
            return
        self.state, self.got = releases.accepted(self.state, FILE), True
        for number in range(MAX_STARTS + 1):
            at_s = TRIAL_S * number if self.fault == "mute" else number
            self.state = releases.started(self.state, OLD, "boot", at_s)
            if self.fault not in ("crash", "mute"):
                self.state = releases.proved(self.state)

    def facts(self, now_ms: int) -> GatewayFacts:
        return GatewayFacts(
            center=self.center, device=self.device, running=self.running, heard_ms=now_ms,
            failed=self.state.failed.version if self.state.failed else None, failing_before_pct=1.0,
            failing_pct=30.0 if self.fault == "worse" and self.running == NEW else 1.0,
        )  # fmt: skip


def rolled_out(fault: str, share: float, days: int = 21) -> tuple[list[SimulatedGateway], Pace, list[int]]:
    """The gateways, of which this share has the fault; the pace at the end; and how many ran it each day."""
    chance = random.Random(7)
    fleet = [
        SimulatedGateway(f"C-{number}", f"device-{number}", fault if number == 0 or chance.random() < share else "")
        for number in range(1000)
    ]
    if share < 1:
        fleet[0].fault = ""  # the first center sees nothing of it
    pace, counts = Pace(open=1, at_ms=NOW), []
    nightly: dict[int, list[SimulatedGateway]] = {}  # by the hour of their look, from NOW on
    for one in fleet:
        nightly.setdefault((due_ms(NOW, "01:00-05:00", one.device)[0] - NOW) % DAY_MS // HOUR_MS, []).append(one)
    assert len(nightly) >= 4
    for hour in range(days * 24):
        now_ms = NOW + hour * HOUR_MS
        for one in nightly.get(hour % 24, ()):
            one.look(pace, now_ms)
        if hour % 6:
            continue
        found = judge_ring(OFFER, pace.open - 1, [one.facts(now_ms) for one in fleet], pace.at_ms, now_ms)
        opened = next_open(OFFER, pace, found, now_ms) if pace.open else 0
        pace = Pace(open=opened, at_ms=now_ms) if opened != pace.open else pace
        if hour % 24 == 18:
            counts.append(sum(one.running == NEW for one in fleet))
    return fleet, pace, counts


@pytest.mark.parametrize("fault", ["crash", "mute", "worse"])
def test_a_bad_version_reaches_the_first_ring_alone_and_what_cannot_run_is_back(fault: str) -> None:
    fleet, pace, _ = rolled_out(fault, 1.0, days=10)
    assert sum(one.got for one in fleet) == 1, "the first ring is one center"
    assert pace.open == 0
    if fault != "worse":
        assert all(one.running == OLD for one in fleet)


@pytest.mark.parametrize("fault", ["crash", "mute"])
def test_one_that_is_bad_on_some_machines_is_held_in_the_ring_that_first_sees_it(fault: str) -> None:
    """A fault of every fifth machine, of which the first center is none: a hundredth of the fleet sees it."""
    fleet, pace, _ = rolled_out(fault, 0.2, days=14)
    assert sum(one.got for one in fleet) <= 20
    assert pace.open == 0
    assert all(one.running == OLD for one in fleet if one.fault)


def test_a_good_version_reaches_all_in_its_time() -> None:
    fleet, pace, counts = rolled_out("", 1.0, days=14)
    assert (counts[0], pace.open) == (1, 4)
    assert 2 < counts[2] < 30
    assert 50 < counts[5] < 200
    assert counts[-1] == len(fleet)


HEALTHY = {"center": "C-0", "device": "d", "running": NEW, "heard_ms": NOW}


@pytest.mark.parametrize(
    ("changes", "state", "name"),
    [
        ({}, "well", ""),
        ({"failed": NEW, "running": OLD}, "bad", "failed"),
        ({"failed": "0.3.9"}, "well", ""),
        ({"crashes": 3}, "bad", "crashed"),
        ({"crashes": 2}, "well", ""),
        ({"heard_ms": NOW - HOUR_MS}, "bad", "silent"),
        ({"heard_ms": None}, "bad", "silent"),
        ({"failing_pct": 9.0, "failing_before_pct": 1.0}, "bad", "worse"),
        ({"failing_pct": 9.0, "failing_before_pct": None}, "well", ""),
        ({"running": OLD}, "waiting", ""),
    ],
)
def test_a_ring_is_judged_by_crashes_silence_and_figures(changes: dict[str, object], state: str, name: str) -> None:
    facts = GatewayFacts(**(HEALTHY | changes))  # type: ignore[arg-type]
    found = judge_ring(OFFER, 0, [facts], NOW - DAY_MS, NOW)
    assert found.state == state
    assert [key for key in ("failed", "crashed", "silent", "worse") if getattr(found, key)] == ([name] if name else [])
    assert judge_ring(OFFER, 0, [facts], NOW - DAY_MS + 1, NOW).state in ("bad", "waiting"), "a day at least"


def test_the_next_ring_waits_for_its_time_and_a_held_release_for_a_person() -> None:
    well = RingHealth(state="well", members=1, took=1)
    assert next_open(OFFER, Pace(), None, NOW) == 1
    assert next_open(OFFER, Pace(open=0, at_ms=NOW), None, NOW) == 0
    assert next_open(OFFER, Pace(open=1, at_ms=NOW), well, NOW) == 1
    assert next_open(OFFER, Pace(open=1, at_ms=NOW), well, NOW + DAY_MS) == 2
    assert next_open(OFFER, Pace(open=4, at_ms=NOW), well, NOW + 30 * DAY_MS) == 4
