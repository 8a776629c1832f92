"""What a card has to bear (row 14): bytes and syncs of a day with all probes on, counted at the system calls.

The real spool takes the readings of a center with twenty seats, a round a minute, and forgets each on its receipt.
`python -m bench host` counts the same of the whole agent, at the kernel's own accounts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import rig

DAY_ROUNDS = 1440
MOST_BYTES, MOST_SYNCS = 25_000_000, 1500
CALLS = "fsync,fdatasync,pwrite64,write"
FIXED_SYNCS = 20  # of a start and an end, however long it runs


def worn(folder: Path, rounds: int, source: Path = rig.ROOT) -> tuple[float, float]:
    """(bytes, syncs) of a day, from so many rounds."""
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed; see tests/packages.txt")
        pytest.skip("strace is not installed (Debian: apt install strace)")
    argv = [strace, "-f", "-qq", "-y", "-o", str(folder / "trace"), "-e", f"trace={CALLS}"]
    done = subprocess.run(
        [*argv, sys.executable, "-m", "tests.faults.disks.wear_work", str(folder / "spool.db"), str(rounds)],
        capture_output=True, text=True, check=False, cwd=source,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(rig.ROOT)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [row for row in (folder / "trace").read_text().splitlines() if "spool.db" in row]
    written = [int(found[1]) for row in rows if "write" in row and (found := re.search(r"= (\d+)$", row))]
    syncs = sum("sync(" in row for row in rows) - FIXED_SYNCS
    return sum(written) * DAY_ROUNDS / rounds, FIXED_SYNCS + syncs * DAY_ROUNDS / rounds


@pytest.mark.row(14)
def test_a_day_of_all_probes_wears_a_card_no_more_than_promised(torture: bool, tmp_path: Path) -> None:
    rounds = 1440 if torture else 240
    written, syncs = worn(tmp_path, rounds)
    print(f"{rounds} rounds: {written / 1e6:.1f} MB and {syncs:.0f} syncs a day")
    assert 0 < written <= MOST_BYTES
    assert 0 < syncs <= MOST_SYNCS


CHECKPOINT_EACH = [
    ("agent/spool/tables.py", 'f"PRAGMA wal_autocheckpoint={WAL_PAGES}"', '"PRAGMA wal_autocheckpoint=1"'),
]


@pytest.mark.control("every commit is carried over into the file at once", row=14)
def test_a_checkpoint_after_every_commit_is_seen(tmp_path: Path) -> None:
    written, syncs = worn(tmp_path, 120, rig.plant(tmp_path, CHECKPOINT_EACH))
    assert written > MOST_BYTES or syncs > MOST_SYNCS
