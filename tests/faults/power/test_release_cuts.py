"""The power of a gateway is cut at every step of an update: it starts, with the program from before or the new one,
whole. The states come from a recording of the agent's own writes and syncs (`crash_states`)."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
from pathlib import Path

import pytest

from tests.faults import rig
from tests.faults.power.crash_states import Disk, Say, record
from tests.faults.power.release_work import FIRST, INSTALLED, LATER, SECOND, ReleaseFolder

CUTS_A_STEP = 15
STEPS = 10
UNSYNCED = [("agent/common/files/durable.py", "        file.flush()\n        os.fsync(file.fileno())\n", "")]
WHOLE = {hashlib.sha256(content).hexdigest() for content in (FIRST, SECOND)} | {""}


def booted(folder: Path, files: dict[str, bytes]) -> str:
    """The digest of what the agent's own code runs with these files on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    file = ReleaseFolder(folder).start(INSTALLED, LATER, 0.0)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file is not None else ""


def wrong_states(folder: Path, source: Path, seed: int) -> tuple[int, int]:
    """(states looked at, those that do not start with the program from before or the new one)."""
    chance, releases = random.Random(seed), folder / "releases"
    releases.mkdir()
    argv = [sys.executable, "-m", "tests.faults.power.release_work", str(releases)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(rig.ROOT)])}
    steps = record(argv, releases, folder / "trace", cwd=source, env=environment)
    right = ["", *(json.loads(step.text) for step in steps if isinstance(step, Say))]
    disk, done, looked, wrong = Disk(), 0, 0, 0
    for step in steps:
        if isinstance(step, Say):
            done += 1
        else:
            disk.take(step)
        for _ in range(CUTS_A_STEP):
            runs = booted(folder / "cut", disk.cut(chance))
            looked += 1
            wrong += runs not in WHOLE or runs not in right[done : done + 2]
    assert done == STEPS, "the play ended early"
    return looked, wrong


@pytest.fixture(autouse=True)
def strace() -> None:
    if shutil.which("strace") is None and "CI" not in os.environ:
        pytest.skip("strace is not installed (Debian: apt install strace)")


def test_after_a_cut_at_any_step_of_an_update_the_gateway_starts(seed: int, tmp_path: Path) -> None:
    looked, wrong = wrong_states(tmp_path, rig.ROOT, seed)
    assert wrong == 0
    assert looked > STEPS * CUTS_A_STEP


@pytest.mark.slow
def test_a_release_that_is_not_synced_before_it_gets_its_name_is_seen(seed: int, tmp_path: Path) -> None:
    (tmp_path / "play").mkdir()
    assert wrong_states(tmp_path / "play", rig.plant(tmp_path, UNSYNCED), seed)[1] > 0
