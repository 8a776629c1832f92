"""kill -9 of each part at random moments under load: nothing promised is lost, nothing counts twice (P1).

The controls plant the bugs that this suite exists for, in a copy of the code, and must see it go red.
"""

from __future__ import annotations

import importlib.util
import random
import sys
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
        "                for receipt in filed.receipts:\n"
        "                    self.early(self._sealed(receipt, nonce, now_ms, pace_ms))\n"
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


@pytest.mark.parametrize(
    ("victim", "bug"),
    [("collector", RECEIPT_BEFORE_COMMIT), ("agent", DEDUPE_REMOVED), ("collector", FORGOTTEN_WHEN_SENT)],
    ids=["receipt before commit", "dedupe removed", "forgotten when sent"],
)
def test_a_planted_bug_turns_the_suite_red(
    victim: str, bug: list[tuple[str, str, str]], seed: int, tmp_path: Path
) -> None:
    ordeal = rig.suffer(rig.House(tmp_path, source=rig.plant(tmp_path, bug)), victim, 4, seed, drain_s=15)
    print("planted:", ordeal)
    assert not ordeal.clean
