"""The WAN interface's counters."""

from __future__ import annotations

from pathlib import Path

import psutil

from agent.probes.speed.line.counters import Counters, find, parse, read

TABLE = """Inter-|   Receive                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 8125 88 0 0 0 0 0 0 8125 88 0 0 0 0 0 0
  eth0:123456789 90 0 0 0 0 0 0 987654 91 0 0 0 0 0 0
eth0.7: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0
"""


def test_one_interface_is_read_from_the_kernels_table() -> None:
    assert parse(TABLE, "eth0") == Counters(rx=123456789, tx=987654)
    assert parse(TABLE, "eth0.7") == Counters(rx=5, tx=6)


def test_an_interface_that_is_not_there_has_no_counters() -> None:
    assert parse(TABLE, "eth") is None
    assert read("no-such-wan") is None
    assert find("no-such-wan", "127.0.0.1") is None


def test_without_the_kernels_table_psutil_is_asked(tmp_path: Path) -> None:
    found = read("lo", tmp_path / "absent")
    assert found is not None
    assert found.rx <= psutil.net_io_counters(pernic=True)["lo"].bytes_recv


def test_the_loopback_is_no_line() -> None:
    assert find("", "127.0.0.1") is None
    assert find("lo", "127.0.0.1") is None


def test_an_address_nobody_has_finds_no_interface() -> None:
    assert find("", "192.0.2.77") is None
