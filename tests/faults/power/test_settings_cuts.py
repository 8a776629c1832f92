"""The power of a gateway is cut at every step of a change of its settings: it starts with those of before, or of after.

The states come from a recording of the agent's own writes and syncs (`crash_states`).
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from agent.remote.trial import RemoteState, read
from tests.faults import rig
from tests.faults.power.crash_states import Disk, Say, record

CUTS_A_STEP = 40
UNSYNCED = [("agent/common/files/durable.py", "        file.flush()\n        os.fsync(file.fileno())\n", "")]


def wrong_states(folder: Path, source: Path, seed: int) -> tuple[int, int]:
    """(states looked at, those that are neither what was said last nor what was being done)."""
    chance, place, state_dir = random.Random(seed), folder / "remote.json", folder / "state"
    state_dir.mkdir()
    argv = [sys.executable, "-m", "tests.faults.power.settings_work", str(state_dir)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(rig.ROOT)])}
    steps = record(argv, state_dir, folder / "trace", cwd=source, env=environment)
    said = [
        RemoteState(),
        *(msgspec.json.decode(step.text, type=RemoteState) for step in steps if isinstance(step, Say)),
    ]
    disk, done, looked, wrong = Disk(), 0, 0, 0
    for step in steps:
        if isinstance(step, Say):
            done += 1
        else:
            disk.take(step)
        for _ in range(CUTS_A_STEP):
            files = disk.cut(chance)
            place.unlink(missing_ok=True)
            if "remote.json" in files:
                place.write_bytes(files["remote.json"])
            looked += 1
            wrong += read(place) not in said[done : done + 2]
    assert done == 9, "the play ended early"
    return looked, wrong


def test_after_a_cut_at_any_step_the_settings_are_those_of_before_or_of_after(seed: int, tmp_path: Path) -> None:
    if shutil.which("strace") is None and "CI" not in os.environ:
        pytest.skip("strace is not installed (Debian: apt install strace)")
    looked, wrong = wrong_states(tmp_path, rig.ROOT, seed)
    assert wrong == 0
    assert looked > 9 * CUTS_A_STEP


def test_a_file_that_is_not_synced_before_it_gets_its_name_is_seen(seed: int, tmp_path: Path) -> None:
    if shutil.which("strace") is None and "CI" not in os.environ:
        pytest.skip("strace is not installed (Debian: apt install strace)")
    (tmp_path / "play").mkdir()
    assert wrong_states(tmp_path / "play", rig.plant(tmp_path, UNSYNCED), seed)[1] > 0
