"""kill -9 of each part at random moments under load: nothing promised is lost, nothing counts twice (P1)."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
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
    chance = random.Random(f"{seed} {victim}")
    house = rig.House(tmp_path)
    truth = tmp_path / "truth.jsonl"
    try:
        house.open()
        minutes = 2 * kills
        fleet = ("--centers", "40", "--seed", str(seed), "--minutes", str(minutes), "--speedup", "30")
        house.argv["fleet"] = house.collector(
            "simulate", "--config", str(house.collector_toml), *fleet, "--truth", str(truth)
        )
        house.start("fleet")
        for _ in range(kills):
            time.sleep(chance.uniform(0.5, 3.5))
            house.kill(victim)
            time.sleep(chance.choice([0, 0.3]))
            house.start(victim)
        house.wait_healthy()
        assert house.processes["fleet"].wait(minutes * 2 + 150) == 0, (tmp_path / "fleet.log").read_text()[-2000:]
        found = rig.account(house, house.deliver())
        check = ("simulate", "--config", str(house.collector_toml), "--check", str(truth), "--json")
        done = subprocess.run(house.collector(*check), capture_output=True, text=True, check=False)
        fleet_found = json.loads(done.stdout)
    finally:
        house.close()
    print(victim, kills, "kills:", found, {key: fleet_found[key] for key in ("promised", "lost", "doubled", "altered")})
    # The agent's own promises: its spool's numbers, and the chain over their bytes.
    assert found.promised > 10 * kills
    assert (found.lost, found.doubled, found.unbroken) == (0, 0, True)
    # And those of the fleet beside it, each id and hash written down before it was sent.
    assert fleet_found["promised"] > 100 * kills
    assert (fleet_found["lost"], fleet_found["doubled"], fleet_found["altered"]) == (0, 0, 0)
