"""This machine's own health and clock."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.config import AgentSettings, AgentTable, SpeedSection
from agent.probes.gateway import ClockState, clock_state, disk_free_pct, judge_clock, probe, uptime_s
from agent.probes.probe import Context
from agent.wire import GatewayReading, Stamp, decode_reading, encode_reading


@pytest.mark.parametrize(
    ("state", "status", "offset", "clock"),
    [
        (0, 0x2001, 1_500_000, ClockState(quality="synced", offset_ms=1.5)),  # nanoseconds
        (0, 0x0001, -250, ClockState(quality="synced", offset_ms=-0.25)),  # microseconds
        (0, 0x2041, 0, ClockState(quality="unsynced")),
        (5, 0x2001, 0, ClockState(quality="unsynced")),
        (-1, 0, 0, ClockState(quality="unsynced")),
    ],
)
def test_the_clock_is_what_the_kernel_says(state: int, status: int, offset: int, clock: ClockState) -> None:
    assert judge_clock(state, status, offset) == clock


def test_the_kernel_is_asked_without_changing_the_clock() -> None:
    before = time.time() - time.monotonic()
    assert clock_state().quality in ("synced", "unsynced")
    assert abs(time.time() - time.monotonic() - before) < 1


def measure(settings: AgentSettings) -> GatewayReading:
    (reading,) = asyncio.run(probe(Context(settings=settings, deadline_s=5.0)))
    assert isinstance(reading, GatewayReading)
    return reading


def test_this_machine_is_measured_and_the_reading_travels(tmp_path: Path) -> None:
    reading = measure(AgentSettings(agent=AgentTable(state_dir=str(tmp_path))))
    assert reading.memory_pct is not None
    assert 0 < reading.memory_pct <= 100
    assert reading.disk_free_pct is not None
    assert reading.agent_rss_mb is not None
    assert 5 < reading.agent_rss_mb < 1000
    assert reading.agent_cpu_s is not None
    assert reading.agent_cpu_s > 0
    stamp = Stamp(wall_ms=1, mono_ms=1, boot="b", clock="synced")
    assert decode_reading(encode_reading(replace(reading, at=stamp))) == replace(reading, at=stamp)


def test_wan_counters_are_those_of_the_named_interface(tmp_path: Path) -> None:
    reading = measure(AgentSettings(agent=AgentTable(state_dir=str(tmp_path)), speed=SpeedSection(wan_interface="lo")))
    assert reading.wan_interface == "lo"
    assert reading.wan_rx_bytes == reading.wan_tx_bytes
    assert reading.wan_rx_bytes is not None


def test_an_interface_that_is_not_there_has_no_counters(tmp_path: Path) -> None:
    reading = measure(
        AgentSettings(agent=AgentTable(state_dir=str(tmp_path)), speed=SpeedSection(wan_interface="nabz-none"))
    )
    assert (reading.wan_rx_bytes, reading.wan_tx_bytes) == (None, None)


def test_the_disk_of_a_folder_to_be_is_that_of_its_nearest_parent(tmp_path: Path) -> None:
    assert disk_free_pct(tmp_path / "not" / "yet") == pytest.approx(disk_free_pct(tmp_path), abs=1)


def test_uptime_is_the_kernels_count() -> None:
    assert uptime_s() == pytest.approx(float(Path("/proc/uptime").read_text().split()[0]), abs=2)


def test_the_wan_interface_may_be_named_by_a_pattern(tmp_path: Path) -> None:
    agent, speed = AgentTable(state_dir=str(tmp_path)), SpeedSection(wan_interface="l[n-p]")
    assert measure(AgentSettings(agent=agent, speed=speed)).wan_interface == "lo"
