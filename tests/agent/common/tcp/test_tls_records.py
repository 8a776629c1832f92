"""Records of TLS that bring nothing are counted wherever the network cuts them, and paid for by contents."""

from __future__ import annotations

import pytest

from agent.common.tcp import RecordCount
from agent.common.tcp.tls_records import PAYS_BYTES, SPARE


def record(size: int) -> bytes:
    return b"\x16\x03\x03" + size.to_bytes(2, "big") + bytes(size)


@pytest.mark.parametrize("size", [0, 1, 22, 400])
@pytest.mark.parametrize("piece", [1, 4, 7, 65_536])
def test_one_more_than_there_are_to_spare_is_over(size: int, piece: int) -> None:
    count, sent = RecordCount(), record(size) * (SPARE + 1)
    pieces = [memoryview(sent)[at : at + piece] for at in range(0, len(sent), piece)]
    last = len(sent) - len(record(size)) + 5  # the head of the one too many
    assert [count.is_over(part) for part in pieces].index(True) == (last - 1) // piece


def test_contents_pay_for_records_and_not_ahead() -> None:
    count, batch = RecordCount(), memoryview(record(1000) * SPARE)
    for _ in range(20):
        assert not count.is_over(batch)
        count.pay(1000 * SPARE)
    assert not count.is_over(batch)
    count.pay(PAYS_BYTES)
    assert not count.is_over(memoryview(record(1)))
    assert count.is_over(memoryview(record(1)))


def test_what_is_no_tls_is_not_counted() -> None:
    count = RecordCount()
    assert not count.is_over(memoryview(b"GET / HTTP/1.1\r\n"))
    assert not count.is_over(memoryview(record(0) * 10 * SPARE))
