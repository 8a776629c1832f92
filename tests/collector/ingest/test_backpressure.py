"""The pause asked of gateways with a backlog: as long as all of them together need, and only while there is a queue."""

from __future__ import annotations

import pytest

from collector.ingest.backpressure import (
    FLOOD,
    FLOOD_S,
    MANY_WAITING,
    MAX_PACE_MS,
    MOST_TURNS,
    WAIT_S,
    WINDOW_S,
    Backpressure,
    Shares,
)

EACH_S = 0.01


def of(senders: int, now_s: float = 1000.0) -> Backpressure:
    pacing = Backpressure()
    pacing.heard([f"g{number}" for number in range(senders)], now_s)
    pacing.took(100, 100 * EACH_S)
    return pacing


def test_without_a_queue_nobody_pauses() -> None:
    assert of(2000).pace_ms(0.0) == 0


def test_behind_a_queue_each_pauses_for_a_turn_of_all() -> None:
    assert of(2000).pace_ms(WAIT_S) == 20_000
    assert of(2000).pace_ms(2 * WAIT_S) == 40_000
    assert of(2000).pace_ms(10 * WAIT_S) == MOST_TURNS * 20_000
    assert of(2000).pace_ms(WAIT_S / 2) == 10_000
    assert of(1).pace_ms(WAIT_S) == 10


def test_the_pause_follows_what_a_message_takes_now() -> None:
    pacing = of(2000)
    for _ in range(50):
        pacing.took(100, 100 * EACH_S * 3)
    assert 59_000 < pacing.pace_ms(WAIT_S) <= 60_000


def test_whoever_is_long_gone_no_longer_counts() -> None:
    pacing = of(2000)
    pacing.heard(["g1"], 1000.0 + WINDOW_S)
    assert pacing.pace_ms(WAIT_S) == 20_000
    pacing.heard(["g1"], 1000.0 + 2 * WINDOW_S)
    assert pacing.pace_ms(WAIT_S) == 10
    pacing.heard(["g1"], 1000.0 + 9 * WINDOW_S)
    assert pacing.pace_ms(WAIT_S) == 10


def test_no_pause_is_longer_than_a_gateway_heeds() -> None:
    assert of(2_000_000).pace_ms(WAIT_S) == MAX_PACE_MS


@pytest.mark.row(59)
def test_one_that_floods_has_its_share_and_keeps_nobody_out() -> None:
    shares = Shares()
    others = [f"g{number}" for number in range(10)]
    assert all(shares.admits(name, 0.0) for name in others)
    assert [shares.admits("flood", 0.0) for _ in range(100)].count(True) == MANY_WAITING
    assert all(shares.admits(name, 0.0) for name in others)
    shares.taken(["flood"] * 10)
    assert shares.admits("flood", 0.0)


def test_senders_that_send_much_alike_are_no_flood() -> None:
    """A fleet that brings its backlog at once."""
    for number in (2, 4):
        shares = Shares()
        names = [f"g{name}" for name in range(number)] * 500
        assert all(shares.admits(name, 0.0) for name in names)


@pytest.mark.parametrize("others", [0, 1, 2, 10])
def test_one_that_floods_is_named_whoever_else_waits(others: int) -> None:
    """With few others, who have a message each, an average that counts the flood itself would never tell it."""
    shares = Shares()
    for number in range(others):
        shares.admits(f"g{number}", 0.0)
    for step in range(FLOOD + MANY_WAITING):
        assert shares.floods() == frozenset()
        shares.admits("flood", step / 1000)
    assert shares.floods() == {"flood"}
    assert shares.floods() == frozenset()


def test_what_is_dropped_now_and_then_is_no_flood() -> None:
    shares = Shares()
    for step in range(MANY_WAITING + FLOOD - 1):
        shares.admits("g1", step / 1000)
    shares.admits("g1", FLOOD_S + 1)
    assert shares.floods() == frozenset()
