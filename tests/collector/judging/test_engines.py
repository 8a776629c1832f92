"""Speed engines held against each other: when their medians of one line and day are a finding."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from agent.common.center_time import TZ
from agent.common.reasons import decode
from collector.judging import engines, place_facts
from collector.judging.engines import EngineResult, differences
from collector.store import Store, schema

DAY_MS = 86_400_000
LINE = ("LHR-001", "g1", "wan")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TZ)).timestamp() * 1000)


def results(
    engine: str, *down: float | None, up: float | None = 10.0, line: tuple[str, str, str] = LINE
) -> list[EngineResult]:
    return [EngineResult(line=line, engine=engine, down=mbps, up=up) for mbps in down]


RECORD = results("librespeed", 48.0, 50.0, 52.0, 20.0)  # median 49


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (results("ndt7", 49.0, 49.0, 49.0), []),
        (results("ndt7", 44.11, 44.2, 44.2), []),  # 9.8 % apart
        (results("ndt7", 44.0, 44.0, 44.0), [("down", "ndt7", 49.0, 44.0)]),
        (results("ndt7", 54.5, 55.0, 55.0), [("down", "ndt7", 49.0, 55.0)]),
        (results("ndt7", 20.0, 20.0), []),  # two have no median to speak of
        (results("ndt7", 20.0, 20.0, None), []),
        (results("ndt7", 49.0, 49.0, 49.0, up=8.9), [("up", "ndt7", 10.0, 8.9)]),
        (results("ndt7", 0.0, 0.0, 0.0, up=None), [("down", "ndt7", 49.0, 0.0)]),
        (results("ndt7", 20.0, 20.0, 20.0, line=("LHR-002", "g2", "wan")), []),  # another line
        (
            results("ndt7", 20.0, 20.0, 20.0) + results("ookla", 61.0, 61.0, 61.0),
            [("down", "ndt7", 49.0, 20.0), ("down", "ookla", 49.0, 61.0)],
        ),
    ],
)
def test_medians_of_a_day_may_lie_ten_per_cent_apart(
    other: list[EngineResult], found: list[tuple[str, str, float, float]]
) -> None:
    for order in (RECORD + other, other + RECORD):
        shown = [(item.direction, item.other, item.mbps, item.other_mbps) for item in differences(order)]
        assert shown == found


def put(store: Store, engine: str, day: str, down: float, seq: int, **values: Any) -> None:
    """Three tests in the slots of a day."""
    rows = [
        {"wall_ms": at(f"{day}T{hour}:30"), "center": "LHR-001", "device": "g1", "spool": "s", "seq": seq + place,
         "subject": "wan", "received_ms": 0, "engine": engine, "purpose": "routine", "download_mbps": down,
         "upload_mbps": 10.0, **values}
        for place, hour in enumerate(("08", "11", "23"))
    ]  # fmt: skip
    with store.write() as conn:
        conn.execute(sa.insert(schema.readings["speed"]), rows)


def look(store: Store, now: str) -> int:
    with store.write() as conn:
        return place_facts.insert(conn, engines.findings(conn, at(now)), at(now))


def test_a_day_is_compared_once_it_is_over_and_found_once_in_whatever_order_it_came(either_store: Store) -> None:
    store = either_store
    put(store, "librespeed", "2026-11-20", 50.0, 0)
    put(store, "ndt7", "2026-11-20", 40.0, 10, purpose="manual")
    assert look(store, "2026-11-20T23:59") == 0
    assert look(store, "2026-11-21T00:30") == 0
    assert [look(store, now) for now in ("2026-11-21T01:30", "2026-11-21T02:30", "2026-11-23T09:00")] == [1, 0, 0]
    with store.read() as conn:
        (row,) = conn.execute(sa.select(schema.integrity)).all()
    assert (row.finding, row.center, row.device) == ("engines_disagree", "LHR-001", "g1")
    assert decode(row.detail).params == {
        "day": "2026-11-20", "subject": "wan", "direction": "down", "engine": "librespeed", "record_mbps": 50.0,
        "other": "ndt7", "other_mbps": 40.0, "apart_pct": 20.0,
    }  # fmt: skip


def test_a_gateway_that_was_offline_on_that_day_is_compared_when_its_readings_come(either_store: Store) -> None:
    put(either_store, "librespeed", "2026-11-20", 50.0, 0)
    assert look(either_store, "2026-11-22T09:00") == 0
    put(either_store, "ndt7", "2026-11-20", 40.0, 10)
    assert look(either_store, "2026-11-22T10:00") == 1


def test_self_tests_and_failures_are_no_opinion(either_store: Store) -> None:
    put(either_store, "librespeed", "2026-11-20", 50.0, 0)
    put(either_store, "ndt7", "2026-11-20", 40.0, 10, purpose="self-test")
    put(either_store, "ookla", "2026-11-20", 40.0, 20, failure='{"cause": "timeout"}')
    assert look(either_store, "2026-11-21T09:00") == 0
