"""A PC of the center floods the agent's port with forged heartbeats (row 35): it costs little, and nobody else suffers.

The real agent with a UPS card and an honest seat, in namespaces of their own; a thousand requests a second.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import rig
from tests.faults.hostile.hostile_work import GATEWAY, HOSTILE

pytestmark = [pytest.mark.root, pytest.mark.slow]

SECONDS, RATE = 20, 1000
CPU_PCT = 20.0  # of one core, at a thousand requests a second


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def lan() -> Iterator[tuple[str, str]]:
    """Two namespaces with a wire between them: the gateway's, and that of the hostile PC."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        if os.environ.get("CI"):
            pytest.fail("needs root and ip(8)")
        pytest.skip("needs root and ip(8) to lay a LAN")
    names = (f"nabz-gw-{os.getpid()}", f"nabz-pc-{os.getpid()}")
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "lan0", "netns", names[0], "type", "veth", "peer", "name", "lan0", "netns", names[1])
        for name, addresses in zip(names, ([GATEWAY], HOSTILE), strict=True):
            for address in addresses:
                ip("-n", name, "address", "add", f"{address}/24", "dev", "lan0")
            ip("-n", name, "link", "set", "lan0", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.mark.row(35)
def test_a_flood_at_the_seats_port_costs_little_and_changes_no_reading(lan: tuple[str, str], tmp_path: Path) -> None:
    words = ["-m", "tests.faults.hostile.hostile_work", "gateway", str(tmp_path), lan[1], str(SECONDS), str(RATE)]
    argv = ["ip", "netns", "exec", lan[0], sys.executable, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, cwd=rig.ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    output: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    quiet, busy, flood = output["quiet"], output["busy"], output["flood"]
    a_second = flood["begun"] / (SECONDS + 2)
    more_s = max(0.0, busy["cpu_s"] - quiet["cpu_s"] * busy["passed_s"] / quiet["passed_s"])
    pct = 100 * more_s / busy["passed_s"] * RATE / a_second
    print(f"{a_second:.0f} requests/s, {flood['answered']} answered: {pct:.1f} % of a core at {RATE}/s", output)
    print(f"load {os.getloadavg()[0]:.1f}")
    assert a_second > RATE / 10
    assert pct < CPU_PCT
    assert output["seats"] == {"SEAT-HONEST": "healthy"}
    for kind in ("link", "ups"):
        assert busy[f"{kind}_failed"] == 0
        assert busy[kind] >= 0.7 * quiet[kind] > 0
