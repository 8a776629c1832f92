"""Real kernels on a real wire (two network namespaces): which silent machines are on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent.seat.identity import fact
from tests.helpers import ROOT

MAC, OTHER_MAC = "3c:52:82:11:22:33", "3c:52:82:aa:bb:cc"
SEAT = "10.99.7.2"
LOOK = f"""
import asyncio
from agent.probes.seats.reachability import SilentSeat, look
for asked in (False, True):
    seat = SilentSeat(id="s1", address="{SEAT}", facts=("{fact("mac", MAC)}",), probed=asked)
    print(asyncio.run(look([seat]))["s1"])
"""

pytestmark = pytest.mark.root


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def wire() -> Iterator[tuple[str, str]]:
    """(gateway's namespace, seat's namespace), joined by a cable."""
    if (os.geteuid() != 0 or shutil.which("ip") is None) and "CI" not in os.environ:
        pytest.skip("needs root and ip(8) to lay a cable")
    gateway, seat = (f"nabz-silence-{os.getpid()}-{side}" for side in ("g", "s"))
    try:
        for name in (gateway, seat):
            ip("netns", "add", name)
        ip("link", "add", "lan0", "netns", gateway, "type", "veth", "peer", "name", "lan0", "netns", seat)
        ip("-n", seat, "link", "set", "lan0", "address", MAC)
        for name, address in ((gateway, "10.99.7.1/24"), (seat, f"{SEAT}/24")):
            ip("-n", name, "addr", "add", address, "dev", "lan0")
            ip("-n", name, "link", "set", "lan0", "up")
        yield gateway, seat
    finally:
        for name in (gateway, seat):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def looked(gateway: str) -> list[str]:
    """What two looks, one after the other, say of the seat."""
    words = ["ip", "netns", "exec", gateway, sys.executable, "-c", LOOK]
    return subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()


def deaf_to_echoes(seat: str) -> None:
    subprocess.run(["ip", "netns", "exec", seat, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"], check=True)


def test_a_pc_that_is_on_answers(wire: tuple[str, str]) -> None:
    assert looked(wire[0]) == ["True", "True"]


def test_a_pc_whose_firewall_drops_echoes_is_found_by_arp_at_the_second_look(wire: tuple[str, str]) -> None:
    deaf_to_echoes(wire[1])
    assert looked(wire[0]) == ["False", "True"]


def test_a_pc_whose_cable_is_out_does_not_answer(wire: tuple[str, str]) -> None:
    ip("-n", wire[1], "link", "set", "lan0", "down")
    assert looked(wire[0]) == ["False", "False"]


def test_another_machine_that_got_its_address_is_not_it(wire: tuple[str, str]) -> None:
    ip("-n", wire[1], "link", "set", "lan0", "address", OTHER_MAC)
    assert looked(wire[0]) == ["False", "False"]
