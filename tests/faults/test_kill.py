"""kill -9 of each part at random moments under load: nothing promised is lost, nothing counts twice (P1).

The controls plant the bugs that this suite exists for, in a copy of the code, and must see it go red.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import time
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("rig", Path(__file__).with_name("rig.py"))
assert _spec is not None
assert _spec.loader is not None
rig = importlib.util.module_from_spec(_spec)
sys.modules["rig"] = rig
_spec.loader.exec_module(rig)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    chosen = request.config.getoption("--fault-seed")
    value = chosen if chosen is not None else random.SystemRandom().randrange(2**31)
    print(f"replay with --fault-seed {value}")
    return value


@pytest.mark.parametrize("victim", ["agent", "collector", "broker"])
def test_kill_9_loses_and_doubles_nothing(
    victim: str, seed: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills = 20 if request.config.getoption("--torture") else 3
    ordeal = rig.suffer(rig.House(tmp_path), victim, kills, seed)
    print(victim, kills, "kills:", ordeal)
    # The agent's own promises: its spool's numbers, and the chain over their bytes.
    assert ordeal.agent.promised > 5 * kills
    assert (ordeal.agent.lost, ordeal.agent.doubled, ordeal.agent.unbroken) == (0, 0, True)
    # And those of the fleet beside it, each id and hash written down before it was sent.
    assert ordeal.fleet["promised"] > 100 * kills
    assert ordeal.clean


RECEIPT_BEFORE_COMMIT = [
    (
        "collector/ingest.py",
        "                filed = self._file(conn, messages, now_ms)\n        except",
        "                filed = self._file(conn, messages, now_ms)\n"
        "                self.early([self._sealed(each, nonce, now_ms, pace_ms) for each in filed.receipts])\n"
        "                import time; time.sleep(0.25)\n"
        "        except",
    ),
    (
        "collector/listener.py",
        "        self._ingest = ingest\n",
        "        self._ingest = ingest; ingest.early = publish\n",
    ),
]
SENT_TWICE = [
    (
        "agent/uplink.py",
        "        client.publish(wire.batch_topic(self._identity.device), wire.seal",
        "        client.publish(wire.batch_topic(self._identity.device), wire.seal(body, self._identity.sign), qos=1)\n"
        "        client.publish(wire.batch_topic(self._identity.device), wire.seal",
    )
]
DEDUPE_REMOVED = [
    *SENT_TWICE,
    (
        "collector/filing.py",
        "        gaps = missing(spool.ranges, run.first, run.last)\n        if len",
        "        gaps = [(run.first, run.last)]\n        if len",
    ),
]
FORGOTTEN_WHEN_SENT = [
    (
        "agent/uplink.py",
        '        live = step.reason != "backlog"\n        body',
        '        live = step.reason == "live"\n'
        "        for group in step.groups:\n"
        "            self._spool.forget(*group.ident[:1], group.first_seq, group.ident[1], group.after.hex())\n"
        "        body",
    ),
]


def test_every_batch_sent_twice_counts_once(seed: int, tmp_path: Path) -> None:
    ordeal = rig.suffer(rig.House(tmp_path, source=rig.plant(tmp_path, SENT_TWICE)), "agent", 2, seed)
    assert ordeal.clean, ordeal


def test_a_receipt_before_the_commit_is_seen(seed: int, tmp_path: Path) -> None:
    house = rig.House(tmp_path, source=rig.plant(tmp_path, RECEIPT_BEFORE_COMMIT))
    assert not rig.suffer(house, "collector", 4, seed, drain_s=10).clean


def test_a_missing_dedupe_is_seen(seed: int, tmp_path: Path) -> None:
    house = rig.House(tmp_path, source=rig.plant(tmp_path, DEDUPE_REMOVED))
    assert not rig.suffer(house, "agent", 2, seed, drain_s=10).clean


def test_an_agent_that_forgets_what_it_only_sent_is_seen(seed: int, tmp_path: Path) -> None:
    house = rig.House(tmp_path, source=rig.plant(tmp_path, FORGOTTEN_WHEN_SENT))

    def both(_turn: int, _chance: random.Random) -> None:
        house.kill("collector")
        time.sleep(1.2)  # two cycles of the agent go to a broker without a subscriber
        house.kill("agent")
        house.start("agent")
        house.start("collector")
        house.wait_healthy()

    assert not rig.suffer(house, "collector", 2, seed, drain_s=10, blow=both).clean
