"""Batches repeated, disordered, cut anew, forged, oversized: the readings that are held stay the same.

Each control switches one layer off in a copy of the code and must see the figure move that the layer guards.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import rig

SHORT_TIMES, TIMES = 100, 10_000


def suffered(folder: Path, seed: int, times: int, source: Path = rig.ROOT) -> dict[str, int]:
    figures = rig.work("tests.faults.hostile.wire_soak", folder / "desk", seed, times, source=source)
    print(figures)
    return figures


@pytest.mark.row(28, 29, 30)
def test_nothing_hostile_repeated_or_disordered_changes_what_is_held(seed: int, torture: bool, tmp_path: Path) -> None:
    times = TIMES if torture else SHORT_TIMES
    figures = suffered(tmp_path, seed, times)
    assert figures.pop("slowest_ms") < 500  # of one message, with all that ingest does for it
    assert figures == {"permutations": times, "replays": times, "forged": times}


SIGNATURE_OFF = [("collector/ingest/verify.py", "if not verify(device.public_key, body, signature):", "if False:")]
NAME_OFF = [("collector/ingest/verify.py", "if batch.device != device.device:", "if False:")]
SIZE_OFF = [
    ("agent/wire.py", "if len(payload) > limit + 128:", "if False:"),
    ("agent/wire.py", "    if len(body) > limit:", "    if False:"),
]
DEDUPE_OFF = [
    (
        "collector/ingest/rows.py",
        "        gaps = missing(spool.ranges, verified.run.first, verified.run.last)\n        if gaps:",
        "        gaps = [(verified.run.first, verified.run.last)]\n        if gaps:",
    )
]
LATEST_BY_ARRIVAL = [
    (
        "collector/judging/evaluate.py",
        'upsert(conn, schema.latest, rows, newer_by="wall_ms")',
        "upsert(conn, schema.latest, rows)",
    )
]


@pytest.mark.parametrize(
    ("bug", "fault"),
    [
        pytest.param(
            SIGNATURE_OFF,
            "accepted: a stranger's key",
            id="signature off",
            marks=pytest.mark.control("signatures are not checked", row=30),
        ),
        pytest.param(
            NAME_OFF,
            "accepted: another's name",
            id="name off",
            marks=pytest.mark.control("the name in a batch is not compared with its topic's", row=30),
        ),
        pytest.param(
            SIZE_OFF,
            "accepted: oversized",
            id="size off",
            marks=pytest.mark.control("a message's size is not looked at", row=32),
        ),
        pytest.param(
            DEDUPE_OFF,
            "replays_that_changed",
            id="dedupe off",
            marks=pytest.mark.control("what is held already is filed again", row=28),
        ),
        pytest.param(
            LATEST_BY_ARRIVAL,
            "other_states",
            id="latest by arrival",
            marks=pytest.mark.control("what came last counts as the newest", row=29),
        ),
    ],
)
def test_a_layer_that_is_off_is_seen(bug: list[tuple[str, str, str]], fault: str, seed: int, tmp_path: Path) -> None:
    figures = suffered(tmp_path, seed, 30, rig.plant(tmp_path, bug))
    assert figures.get(fault, 0) > 0
