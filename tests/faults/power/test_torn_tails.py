"""The spool opens on whatever a power cut or a worn card leaves of it, loses nothing synced and believes nothing false.

The states come from a recording of the spool's own writes and syncs (`crash_states`); every run records anew.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.spool.queue import Spool
from tests.faults import rig
from tests.faults.power.spool_work import STAMP, Truth, everything, work

FAULTS = ("lost", "wrong", "crashes", "volatile", "stuck", "unexplained")
SHORT_STATES, STATES = 800, 100_000
SHORT_FLIPS, FLIPS = 300, 65_536


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """In memory where there is such a place: each state is a folder of its own."""
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed; see tests/packages.txt")
        pytest.skip("strace is not installed (Debian: apt install strace)")
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="nabz-states-", dir=memory if os.access(memory, os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


def explored(folder: Path, seed: int, states: int, kind: str = "state", source: Path = rig.ROOT) -> dict[str, float]:
    figures = rig.work("tests.faults.power.torn_tails", folder / "states", seed, states, kind, source=source)
    print(figures)
    return figures


@pytest.mark.row(8)
def test_every_state_of_the_disk_opens_with_all_that_was_promised(seed: int, torture: bool, quick_folder: Path) -> None:
    figures = explored(quick_folder, seed, STATES if torture else SHORT_STATES)
    assert {fault: figures.get(fault, 0) for fault in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert min(figures["legal"], figures["harmed"]) > SHORT_STATES // 4
    assert figures["slowest_s"] < 30


@pytest.mark.slow
@pytest.mark.row(9)
def test_a_wrong_bit_in_the_middle_of_the_file_costs_one_record_at_most_and_that_is_said(
    seed: int, torture: bool, quick_folder: Path
) -> None:
    figures = explored(quick_folder, seed, FLIPS if torture else SHORT_FLIPS, "flip")
    faults = (*FAULTS, "several_lost", "unexplained_harm")
    assert {fault: figures.get(fault, 0) for fault in faults} == dict.fromkeys(faults, 0)
    assert figures["lost_to_harm"] > SHORT_FLIPS // 10


@pytest.mark.row(8)
def test_a_file_stretched_to_terabytes_is_salvaged_all_the_same(seed: int, tmp_path: Path) -> None:
    """What SQLite makes of a file whose rollback journal has one wrong bit in the size it restores."""
    path = tmp_path / "spool.db"
    work(path, seed, 5)
    with path.open("r+b") as file:
        file.seek(100)  # the root page of the schema
        file.write(b"\xff")
        file.truncate(1 << 42)
    began_s = time.monotonic()
    spool = Spool(path, stamp=lambda: STAMP)
    groups = everything(spool)
    spool.close()
    assert time.monotonic() - began_s < 30
    truth = Truth(seed, groups[0].spool)
    assert [truth.holds(group) for group in groups] == [True] * 5


UNCHECKED = [
    (
        "agent/spool/record.py",
        "if len(record) < HEADER.size + CHECK_BYTES or check(record[:-CHECK_BYTES]) != record[-CHECK_BYTES:]:",
        "if len(record) < HEADER.size + CHECK_BYTES:",
    )
]
UNSYNCED = [("agent/spool/tables.py", "PRAGMA synchronous=FULL", "PRAGMA synchronous=OFF")]
UNSALVAGED = [
    (
        "agent/spool/queue.py",
        "        except SpoolDamaged as error:\n            return self._rebuild(str(error))\n",
        "",
    )
]

UNSAID = [("agent/spool/queue.py", "self._account_groups(disk.head, lost)", "self._account_groups(disk.head, ())")]


@pytest.mark.parametrize(
    ("bug", "kind", "fault"),
    [
        pytest.param(UNCHECKED, "state", "wrong", marks=pytest.mark.control("records are not checked", row=8)),
        pytest.param(UNSYNCED, "state", "lost", marks=pytest.mark.control("nothing is synced", row=8)),
        pytest.param(UNSALVAGED, "state", "stuck", marks=pytest.mark.control("damage is not salvaged", row=8)),
        pytest.param(UNSAID, "flip", "unexplained_harm", marks=pytest.mark.control("what was lost is not said", row=9)),
    ],
    ids=["records unchecked", "nothing synced", "damage not salvaged", "loss not said"],
)
def test_a_planted_bug_is_seen_in_some_state(
    bug: list[tuple[str, str, str]], kind: str, fault: str, seed: int, quick_folder: Path, tmp_path: Path
) -> None:
    figures = explored(quick_folder, seed, 400, kind, rig.plant(tmp_path, bug))
    assert figures.get(fault, 0) > 0


# ---------------------------------------------------------------- cuts while it recovers

CUT_FAULTS = ("crashes", "lost", "wrong", "broken_chains", "numbers_again", "unexplained")
SHORT_CUTS, CUTS = 120, 14_400


def cut(folder: Path, seed: int, states: int, *kinds: str, source: Path = rig.ROOT) -> dict[str, int]:
    figures = rig.work("tests.faults.power.cut_recoveries", folder / "states", seed, states, *kinds, source=source)
    print(figures)
    return figures


@pytest.mark.slow
@pytest.mark.row(10)
def test_a_recovery_cut_short_and_the_next_and_the_next_finds_all_that_the_first_would_have(
    seed: int, torture: bool, quick_folder: Path
) -> None:
    figures = cut(quick_folder, seed, CUTS if torture else SHORT_CUTS)
    assert {fault: figures.get(fault, 0) for fault in CUT_FAULTS} == dict.fromkeys(CUT_FAULTS, 0)
    assert figures["depth_3"] >= SHORT_CUTS // 3
    assert figures["replayed"] > 0


SAID_LATER = [
    (
        "agent/spool/queue.py",
        "                disk.write(accounts, {(gone.spool, gone.last_seq) for gone in lost})\n",
        "                disk.write((), {(gone.spool, gone.last_seq) for gone in lost})\n"
        "                disk.write(accounts)\n",
    )
]
BUILT_IN_PLACE = [("agent/spool/rebuild.py", 'BUILDING = ".building"', 'BUILDING = ".rebuilt"')]


@pytest.mark.parametrize(
    ("bug", "kind", "fault"),
    [
        pytest.param(
            *(SAID_LATER, "record", "unexplained"),
            marks=pytest.mark.control("lost records go before their account", row=10),
        ),
        pytest.param(
            *(BUILT_IN_PLACE, "tables", "lost"),
            marks=pytest.mark.control("a half-built file takes the place", row=10),
        ),
    ],
    ids=["account in a commit of its own", "half-built file taken"],
)
def test_a_bug_that_only_a_cut_recovery_shows_is_seen(
    bug: list[tuple[str, str, str]], kind: str, fault: str, seed: int, quick_folder: Path, tmp_path: Path
) -> None:
    figures = cut(quick_folder, seed, 60, kind, source=rig.plant(tmp_path, bug))
    assert figures.get(fault, 0) > 0
