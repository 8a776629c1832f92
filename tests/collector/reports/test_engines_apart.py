"""Engines measure by rules of their own: their figures never stand in one trend."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import sqlalchemy as sa

from agent.config import Engine
from agent.probes.speed import ENGINES
from agent.wire import ENGINE_OF_RECORD
from collector.store import Store, queries, schema
from collector.store.rollups import HOUR_MS, sum_hour
from tests.helpers import ROOT

SETTINGS = ROOT / "docs" / "settings.md"
HOUR = 1_795_000_000_000 // HOUR_MS * HOUR_MS


def put(store: Store, seq: int, engine: str | None, mbps: float) -> None:
    key = {"center": "LHR-1", "device": "g1", "spool": "s", "seq": seq, "subject": "", "received_ms": HOUR}
    with store.write() as conn:
        row = key | {"wall_ms": HOUR + seq, "engine": engine, "purpose": "routine", "download_mbps": mbps}
        conn.execute(sa.insert(schema.readings["speed"]).values(row))


def test_every_engine_can_be_chosen_and_one_of_them_is_of_record() -> None:
    chosen, there_are = set(get_args(Engine)), set(ENGINES)
    assert chosen == there_are, (
        f"in only one of agent.config.Engine and agent.probes.speed.ENGINES: {chosen ^ there_are}"
    )
    assert ENGINE_OF_RECORD in there_are


@pytest.mark.parametrize("name", get_args(Engine))
def test_the_help_of_the_setting_names_every_engine(name: str) -> None:
    (row,) = re.findall(r"^\| `engine` \|.*$", SETTINGS.read_text(), re.MULTILINE)
    assert name in row, f"agent/config.py: the help of `[speed] engine` does not name {name}"


def test_a_trend_has_the_engine_of_record_alone(either_store: Store) -> None:
    """Of the readings themselves, and of the sums that weeks are drawn from."""
    for seq, (engine, mbps) in enumerate([("librespeed", 40.0), ("ndt7", 90.0), ("ookla", 5.0), ("new", 1.0)], 1):
        put(either_store, seq, engine, mbps)
    put(either_store, 9, None, 20.0)  # before readings named their engine
    with either_store.write() as conn:
        sum_hour(conn, HOUR)
        held = conn.execute(sa.select(schema.hours["speed"])).mappings().one()
    assert (held["n"], held["download_mbps_sum"]) == (2, 60.0)
    with either_store.read() as conn:
        drawn = queries.series(conn, "speed", "LHR-1", HOUR, HOUR + HOUR_MS, ["download_mbps"], 10)
    assert drawn["download_mbps"] == [pytest.approx(30.0)]
