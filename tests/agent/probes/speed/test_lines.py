"""The engine of record on emulated lines whose truth is known: real TCP through two namespaces. The whole matrix is
`make bench`; these are its corners."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bench.lines.emulator import GOODPUT
from bench.lines.line import Terms
from bench.lines.speed import cell

MISSING = [name for name in ("ip", "iperf3") if shutil.which(name) is None]
MAY_NOT = os.geteuid() != 0 or not Path("/dev/net/tun").exists()

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        bool(MISSING or MAY_NOT) and not os.environ.get("CI"), reason="needs root, /dev/net/tun, iproute2 and iperf3"
    ),
]

LOSSY = Terms(down_mbps=10, up_mbps=2, rtt_ms=80, loss_pct=1)
SLOW = Terms(down_mbps=2, up_mbps=0.5, rtt_ms=5)
COMMON = Terms(down_mbps=20, up_mbps=5, rtt_ms=30)

BUSY = {"client_limited"}  # true of a machine that runs many tests at once


@pytest.mark.parametrize(
    ("terms", "mode", "within", "most_mb"),
    [
        pytest.param(COMMON, "quick", 0.03, 8.0, marks=pytest.mark.slow),
        (LOSSY, "adaptive", 0.02, 10.0),
        pytest.param(SLOW, "quick", 0.05, 3.0, marks=pytest.mark.slow),
    ],
)
def test_the_truth_of_a_line_is_read(terms: Terms, mode: str, within: float, most_mb: float) -> None:
    row = cell(terms, mode, tries=3)
    if "LATE" in row.note:
        pytest.skip(f"the emulator did not get the CPU it needs: {row.note}")
    assert row.down is not None
    assert row.up is not None
    assert row.down / terms.down_mbps / GOODPUT == pytest.approx(1, abs=within)
    assert row.up / terms.up_mbps / GOODPUT == pytest.approx(1, abs=within)
    assert row.megabytes < most_mb
    assert set(row.flags) <= BUSY


@pytest.mark.slow
def test_a_full_house_is_not_called_slow() -> None:
    """Half the line down is taken by others: the goodput says so, the capacity adds it back."""
    row = cell(COMMON, "quick", "udp50-down", tries=3)
    if "LATE" in row.note:
        pytest.skip(f"the emulator did not get the CPU it needs: {row.note}")
    assert row.down is not None
    assert row.capacity_down is not None
    assert row.down < 0.85 * row.capacity_down  # how much others get of their half is the queue's to say
    assert row.capacity_down / COMMON.down_mbps / GOODPUT == pytest.approx(1, abs=0.03)
    assert {"cross_traffic"} <= set(row.flags) <= {"cross_traffic"} | BUSY
