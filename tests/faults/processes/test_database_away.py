"""The database is away under load (row 22): memory stays bounded, the broker is let go, nothing is lost, all drains.

PostgreSQL is shut down at once and started again; SQLite's file is locked by another process meanwhile.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults import rig
from tests.faults.databases import Database, Postgres
from tests.faults.stacks import served_by

GROWTH_BYTES = 50_000_000
FLEET_MINUTES_S = 6  # the fleet of `rig.suffer` plays three minutes for each turn, thirty times as fast


def resident(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def watched_for(house: rig.House, seconds: float) -> int:
    """The most that the collector's memory grows meanwhile."""
    pid = house.processes["collector"].pid
    before, most, until_s = resident(pid), 0, time.monotonic() + seconds
    while time.monotonic() < until_s:
        time.sleep(0.25)
        most = max(most, resident(pid) - before)
    return most


def stopped(base: Postgres, during: Callable[[], int]) -> int:
    base.stop()
    grown = during()
    base.start()
    return grown


def locked(house: rig.House, during: Callable[[], int]) -> int:
    with closing(sqlite3.connect(house.database.removeprefix("sqlite:///"), timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        grown = during()
        other.execute("ROLLBACK")
    return grown


def away(house: rig.House, base: Database, seconds: float, seed: int) -> tuple[int, rig.Ordeal]:
    """Once, a little after the start of the load, for so long; the load outlasts it."""
    grown: list[int] = []

    def blow(turn: int, _chance: random.Random) -> None:
        def during() -> int:
            return watched_for(house, seconds)

        if turn == 1:
            grown.append(stopped(base, during) if isinstance(base, Postgres) else locked(house, during))

    ordeal = rig.suffer(house, "collector", 1 + round(seconds / FLEET_MINUTES_S), seed, drain_s=600, blow=blow)
    return grown[0], ordeal


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
@pytest.mark.row(22)
def test_a_database_that_is_away_costs_neither_memory_nor_a_reading(
    database: str, seed: int, torture: bool, tmp_path: Path
) -> None:
    seconds = 600 if torture else 12
    with served_by(tmp_path, database, "amqtt") as (house, base):
        grown, ordeal = away(house, base, seconds, seed)
        text = (tmp_path / "collector.log").read_text()
    print(f"{database} away for {seconds} s: {grown / 1e6:.1f} MB more; {ordeal}")
    assert grown < GROWTH_BYTES
    assert ordeal.fleet.promised > 20 * seconds
    assert ordeal.clean
    if database == "postgresql":  # SQLite's lock is waited for inside the transaction
        assert "ingest_database_away" in text
