"""The whole agent as a process, started anew as systemd would: a release of its own code runs, is proven by the
collector's receipts, and one that cannot run is left for it. Two minutes of real time."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import pytest

from agent import wire
from agent.common.releases.trial import FOLDER, ReleaseFolder
from agent.identity import Identity
from collector.remote.updates.packing import pack
from tests.agent.test_service import Agent
from tests.helpers import ROOT
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.slow


def release(version: str, breaks: str = "") -> bytes:
    """This tree's agent under another version, with a line more in its entry where it is to break."""
    own, content = pack(ROOT)
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as made:
        for name in source.namelist():
            text = source.read(name).decode()
            if name == "agent/__init__.py":
                text = text.replace(f'"{own}"', f'"{version}"')
            made.writestr(name, text + (breaks if name == "agent/__main__.py" else ""))
    return held.getvalue()


def newest(collector) -> wire.GatewayReading:
    held = dict(collector.held)
    readings = (wire.decode_reading(held[number]) for number in sorted(held, reverse=True))
    return next((one for one in readings if isinstance(one, wire.GatewayReading)), wire.GatewayReading())


def test_a_release_runs_is_proven_and_a_broken_one_after_it_is_left(
    tmp_path: Path, free_port: int, enrolled: Identity, little_collector
) -> None:
    folder = tmp_path / "state" / FOLDER
    ReleaseFolder(folder).accept("0.9.0", release("0.9.0"))
    begun_s = time.monotonic()
    agent = Agent(tmp_path, free_port)
    try:
        wait_until(lambda: newest(little_collector).version == "0.9.0")
        assert newest(little_collector).release == "trial"
        wait_until(lambda: newest(little_collector).release == "proven", seconds=200)
        assert time.monotonic() - begun_s >= 90
        assert agent.status()["version"] == "0.9.0"
        assert agent.stop() == 0
        ReleaseFolder(folder).accept("0.9.1", release("0.9.1", "\nraise SystemExit(3)\n"))
        codes = []
        for _ in range(3):
            agent = Agent(tmp_path, free_port)
            codes.append(agent.process.wait(60))
        assert codes == [3, 3, 3]
        agent = Agent(tmp_path, free_port)
        wait_until(lambda: newest(little_collector).failed_release == "0.9.1")
        found = newest(little_collector)
        assert (found.version, found.release, found.failed_why) == ("0.9.0", "proven", "starts")
        agent.stop()
    finally:
        agent.process.kill()
        agent.process.wait()
    assert len({spool for spool, _number in little_collector.held}) == 1
    numbers = sorted(number for _spool, number in little_collector.held)
    assert numbers == list(range(1, len(numbers) + 1)), "no reading is lost over the change"
