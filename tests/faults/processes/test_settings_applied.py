"""Settings from the command on the collector to the running agent, by real processes, over kills of either."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.faults.rig import House, wait_for

pytestmark = pytest.mark.slow


def settings(house: House, *words: str) -> Any:
    return json.loads(house.call(house.collector("settings", *words, "--config", str(house.collector_toml), "--json")))


def standing(house: House) -> tuple[str, str]:
    (row,) = settings(house, "status", "--all")["gateways"]
    return row["standing"], row["digest"]


def spool_max_bytes(house: House) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{house.status}/status.json", timeout=5) as answer:
        return int(json.loads(answer.read())["spool_max_bytes"])


def test_settings_are_applied_within_a_minute_and_stay_over_kills(tmp_path: Path) -> None:
    house = House(tmp_path)
    try:
        house.open()
        wait_for(lambda: standing(house)[0] == "applied", "the first report")
        begun_s = time.monotonic()
        settings(house, "set", "--layer", "country", "--reason", "test", "spool.max_mb=32")
        wait_for(lambda: standing(house)[0] in ("trial", "applied"), "settings on trial", 60)
        print(f"applied after {time.monotonic() - begun_s:.1f} s")
        assert spool_max_bytes(house) == 32 << 20
        asked = ("center", "ask", "FAULT-1", "--config", str(house.collector_toml), "--json")
        begun_s = time.monotonic()
        answer = json.loads(json.loads(house.call(house.collector(*asked, "settings")))["answer"])
        print(f"a question answered after {time.monotonic() - begun_s:.1f} s")
        assert answer["spool"]["max_mb"] == 32
        before = (tmp_path / "agent.toml").read_bytes()
        for name in ("agent", "collector", "agent"):
            house.kill(name)
            house.start(name)
        house.wait_healthy()
        wait_for(lambda: standing(house)[0] == "applied", "proven by a receipt after a minute and a half", 180)
        settings(house, "unset", "--layer", "country", "--reason", "over", "spool.max_mb")
        wait_for(lambda: standing(house)[1] == "", "taken back", 60)
        wait_for(lambda: spool_max_bytes(house) == 64 << 20, "the file's own value")
        assert (tmp_path / "agent.toml").read_bytes() == before
        assert not house.ended
    finally:
        house.close()
