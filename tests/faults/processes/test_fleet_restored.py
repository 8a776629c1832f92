"""A machine is lost, and another one is made of one backup file: a fleet is back without a visit (design P10)."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.store import Store, schema
from tests.faults import rig

SHORT, FULL = 10, 200
TIMEOUT_S = 900


def heard_since(url: str, at_ms: int) -> int:
    """How many centers."""
    with closing(Store.open(url)) as store, store.read() as conn:
        return int(conn.scalar(sa.select(sa.func.count()).where(schema.pulse.c.heard_ms > at_ms)) or 0)


def wait_for_all(url: str, count: int, at_ms: int) -> float:
    """Seconds until so many centers were heard since then."""
    began_s = time.monotonic()
    while heard_since(url, at_ms) < count:
        assert time.monotonic() - began_s < TIMEOUT_S, f"{heard_since(url, at_ms)} of {count} centers"
        time.sleep(1)
    return time.monotonic() - began_s


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.slow
@pytest.mark.row(49)
def test_a_fleet_is_back_on_a_new_machine_of_one_backup_file_without_a_visit(torture: bool, tmp_path: Path) -> None:
    """The fleet's own process goes on as it is: what it would need of a visit it does not get. Its gateways keep
    nothing that was receipted; what becomes of that is played with real agents (test_restore_drills)."""
    count, house = FULL if torture else SHORT, rig.House(tmp_path)
    key, file, config = tmp_path / "age.key", tmp_path / "one.backup", str(house.collector_toml)
    house.argv["fleet"] = house.collector("simulate", "--centers", str(count), "--config", config)
    try:
        house.start("broker")
        house.start("collector")
        house.wait_healthy()
        house.start("fleet")
        joined_s = wait_for_all(house.database, count, 0)
        public = json.loads(house.call(house.collector("backup", "--new-key", str(key), "--json")))["recipient"]
        house.call(house.collector("backup", str(file), "--recipient", public, "--config", config))
        house.kill("collector")
        lost_ms, began_s = now_ms(), time.monotonic()
        lose_machine(tmp_path / "data")
        bare = ("--data", str(tmp_path / "bare"), "--database", f"sqlite:///{tmp_path}/bare/nabz.db")
        anew = str(tmp_path / "anew.toml")
        house.call(house.collector("restore", str(file), "--identity", str(key), "--config", anew, *bare,
                                   "--confirm-by", "Bina"))  # fmt: skip
        restored_s = time.monotonic() - began_s
        house.argv["collector"] = house.collector("serve", "--config", anew, *bare)
        house.start("collector")
        house.wait_healthy()
        wait_for_all(bare[-1], count, lost_ms)
        back_s = time.monotonic() - began_s
        print(f"{count} centers joined in {joined_s:.0f} s; restored in {restored_s:.0f} s; all back in {back_s:.0f} s")
    finally:
        house.close()


def lose_machine(data: Path) -> None:
    """All of it but the keys and spools of the fleet, which lie there too."""
    for path in data.iterdir():
        if path.name != "simulated":
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)  # a child may be closing it
