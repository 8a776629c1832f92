"""What of the gateway itself may hold a test back, as the kernel tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.probes.speed.line.machine import Core, MachineState, Port, port, shares, state

WAITING = """
import json, time
from agent.probes.speed.line.machine import shares, state
before = state()
until = time.monotonic() + 0.6
while time.monotonic() < until:
    pass
found = shares(before, state())
print(json.dumps([found.busy, found.waited]))
"""


def at(seconds: float, used: float, waited: float | None = None, *cores: Core) -> MachineState:
    return MachineState(at_s=seconds, thread_s=used, waited_s=waited, cores=cores)


def test_what_a_thread_used_and_waited_for_is_its_share_of_the_time() -> None:
    found = shares(at(100.0, 5.0, 1.0), at(102.0, 5.5, 2.2))
    assert (found.busy, found.waited, found.softirq) == pytest.approx((0.85, 0.6, 0.0))
    blind = shares(at(100.0, 5.0), at(102.0, 5.5, 2.2))
    assert (blind.busy, blind.waited) == pytest.approx((0.25, 0.0))
    assert shares(at(1.0, 1.0), at(1.0, 1.0)).busy == 0.0


def test_soft_interrupts_count_on_a_core_that_has_no_time_left() -> None:
    began = Core(idle_s=10.0, softirq_s=1.0, total_s=20.0)
    full = Core(idle_s=10.05, softirq_s=2.5, total_s=22.0)
    at_rest = Core(idle_s=11.0, softirq_s=2.0, total_s=22.0)
    assert shares(at(0, 0, 0, began, began), at(2, 0, 0, at_rest, full)).softirq == pytest.approx(0.75)
    assert shares(at(0, 0, 0, began), at(2, 0, 0, at_rest)).softirq == 0.0
    assert shares(at(0, 0, 0, began), at(2, 0, 0)).softirq == 0.0
    assert shares(at(0, 0, 0, began), at(2, 0, 0, began)).softirq == 0.0


@pytest.mark.parametrize("text", [None, "", "12", "a b c", "\xff"])
def test_a_kernel_that_tells_no_waiting_leaves_it_unknown(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "schedstat"
    if text is not None:
        file.write_text(text, "latin-1")
    assert state(file).waited_s is None


def test_the_kernel_tells_of_this_thread(tmp_path: Path) -> None:
    (tmp_path / "schedstat").write_text("5000000 1500000000 7\n")
    found = state(tmp_path / "schedstat")
    assert found.waited_s == 1.5
    assert len(found.cores) == os.cpu_count()
    assert all(0 <= core.softirq_s <= core.total_s for core in found.cores)


@pytest.mark.skipif(
    state().waited_s is None and "CI" not in os.environ, reason="this kernel does not tell how long threads wait"
)
def test_a_thread_that_shares_its_core_waits_for_it() -> None:
    pinned = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    burner = subprocess.Popen([*pinned, sys.executable, "-c", "while True: pass"])
    try:
        words = [*pinned, sys.executable, "-c", WAITING]
        busy, waited = eval(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    finally:
        burner.kill()
        burner.wait()
    assert busy > 0.8
    assert waited > 0.25


def device(folder: Path, name: str, *parts: str, speed: str | None = None) -> None:
    for part in ("device", *parts):
        (folder / name / part).mkdir(parents=True)
    if speed is not None:
        (folder / name / "speed").write_text(speed)


def test_the_link_of_a_physical_interface_is_known_by_its_rate(tmp_path: Path) -> None:
    device(tmp_path, "eth0", speed="100\n")
    device(tmp_path, "eth1", speed="-1\n")
    device(tmp_path, "eth2", speed="fast\n")
    device(tmp_path, "eth3")
    device(tmp_path, "wlan0", "wireless", speed="1000\n")
    device(tmp_path, "wlan1", "phy80211")
    (tmp_path / "tun0").mkdir()
    (tmp_path / "tun0" / "speed").write_text("10\n")
    rates = {"wlan0": 72.2, "wlan1": None}
    found = {
        name: port(name, tmp_path, rates.get) for name in ("eth0", "eth1", "eth2", "eth3", "wlan0", "wlan1", "tun0")
    }
    assert found == {
        "eth0": Port(mbps=100.0, is_wireless=False),
        "wlan0": Port(mbps=72.2, is_wireless=True),
    } | dict.fromkeys(("eth1", "eth2", "eth3", "wlan1", "tun0"))
    assert port("", tmp_path) is None
    assert port("../eth0", tmp_path) is None


def test_an_interface_that_is_not_there_has_no_link(tmp_path: Path) -> None:
    device(tmp_path, "wlan9", "wireless")
    assert port("wlan9", tmp_path) is None  # the kernel knows no such interface
    assert port("lo") is None


def test_a_test_that_fills_its_own_link_may_be_held_back_by_it() -> None:
    cable, radio = Port(mbps=100.0, is_wireless=False), Port(mbps=144.4, is_wireless=True)
    assert (cable.share(94.1) >= 1, cable.share(80.0) >= 1) == (True, False)
    assert (radio.share(75.0) >= 1, radio.share(40.0) >= 1) == (True, False)
