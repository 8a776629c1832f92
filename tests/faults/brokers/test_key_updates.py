"""Brokers under a gateway that sends updates of TLS keys without end: the rules that we ship for the kernel's packet
filter bound it at Mosquitto, so that others are served; without them they wait for as long as it goes on. NATS ends
such a session by itself: Go's `crypto/tls` takes 16 records in a row that bring nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.makes import tool
from tests.helpers import ROOT

FOR_S = 12.0
HONEST_S = 2.0  # what an honest receipt may take through any flood
pytestmark = [pytest.mark.root, pytest.mark.slow]


def longest_wait_s(folder: Path, *words: str) -> float:
    """In a network of its own."""
    if "bounded" in words:
        tool("nft")
    program = [sys.executable, "-m", "tests.faults.brokers.key_updates", str(folder), str(FOR_S), *words]
    argv = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *program]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    print(done.stdout)
    return float(json.loads(done.stdout.splitlines()[-1])["longest_wait_s"])


@pytest.mark.row(55)
def test_updates_of_keys_keep_nobody_out_of_mosquitto_behind_the_packet_filter(tmp_path: Path) -> None:
    assert longest_wait_s(tmp_path, "mosquitto", "bounded") < HONEST_S


@pytest.mark.row(55)
def test_updates_of_keys_keep_nobody_out_of_nats(tmp_path: Path) -> None:
    assert longest_wait_s(tmp_path, "nats") < HONEST_S


@pytest.mark.control("nothing bounds what a gateway sends to Mosquitto", row=55)
def test_without_the_packet_filter_they_do(tmp_path: Path) -> None:
    assert longest_wait_s(tmp_path, "mosquitto") > HONEST_S
