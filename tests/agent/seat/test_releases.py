"""A seat takes the release that its gateway hands on: the real program, over the real listener."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.common.releases.trial import FOLDER, Release, ReleaseFolder
from agent.local import lan
from agent.probes.seats.registry import Registry
from agent.seat.releases import SeatReleases
from collector.remote.updates.packing import pack
from tests.helpers import ROOT
from tests.helpers.waiting import until

KEY = bytes(range(32))
GOOD = b"a newer program"
DIGEST = hashlib.sha256(GOOD).hexdigest()


def fetching(content: bytes, calls: list[str]) -> Callable[[str], bytes]:
    def fetch(digest: str) -> bytes:
        calls.append(digest)
        return content

    return fetch


@pytest.mark.parametrize(
    ("offered", "content", "taken", "fetched"),
    [
        (f"0.9.0 {DIGEST}", GOOD, True, 1),
        (f"0.9.0 {DIGEST}", b"another program", False, 1),
        (f"0.2.0 {DIGEST}", GOOD, False, 0),
        (f"0.1.0 {DIGEST}", GOOD, False, 0),
        ("", GOOD, False, 0),
    ],
)
def test_a_newer_release_is_taken_whole_and_once(
    tmp_path: Path, offered: str, content: bytes, taken: bool, fetched: int
) -> None:
    calls: list[str] = []
    releases = SeatReleases(tmp_path, "0.2.0")
    for _ in range(3):
        releases.heard(offered, fetching(content, calls))
    assert (releases.ended, len(calls)) == (taken, fetched)
    trial = ReleaseFolder(tmp_path / FOLDER).state.trial
    assert (trial == Release("0.9.0", DIGEST)) is taken


def test_a_release_that_failed_here_is_not_loaded_again(tmp_path: Path) -> None:
    folder = ReleaseFolder(tmp_path / FOLDER)
    folder.accept("0.9.0", GOOD)
    folder.take_back("starts")
    calls: list[str] = []
    SeatReleases(tmp_path, "0.2.0").heard(f"0.9.0 {DIGEST}", fetching(GOOD, calls))
    assert not calls


def newer_program(folder: Path) -> bytes:
    """Today's program as version 9.9.9."""
    shutil.copytree(ROOT / "agent", folder / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    module = folder / "agent" / "__init__.py"
    module.write_text(re.sub(r'__version__ = ".+"', '__version__ = "9.9.9"', module.read_text()))
    return pack(folder)[1]


@pytest.mark.slow
def test_a_seat_runs_its_gateways_release_and_proves_it(tmp_path: Path) -> None:
    program = newer_program(tmp_path / "source")
    release = Release("9.9.9", hashlib.sha256(program).hexdigest())
    (tmp_path / "release.zip").write_bytes(program)
    (tmp_path / "seat.key").write_text(KEY.hex())
    registry = Registry(None, 0, "always")
    words = ["--key-file", str(tmp_path / "seat.key"), "--state-dir", str(tmp_path / "seat"), "--interval", "5"]

    async def story() -> None:
        offered = (release, tmp_path / "release.zip")
        async with await lan.listen(registry, "127.0.0.1:0", KEY, lambda: offered) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            seat = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "agent.seat", "run", "--gateway", url, *words, stderr=subprocess.PIPE
            )
            await until(lambda: ReleaseFolder(tmp_path / "seat" / FOLDER).state.proven == release, "proven", 120)
            assert seat.returncode is None, "the same process went on"
            seat.terminate()
            _, said = await seat.communicate()
            assert (seat.returncode, said.count(b"seat_started"), said.count(b"release_proven")) == (0, 2, 1)

    asyncio.run(story())
    assert [seat.said_goodbye for seat in registry.seats.values()] == [True]
