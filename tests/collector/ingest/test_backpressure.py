"""The pause asked of gateways with a backlog: as long as all of them together need, and only while there is a queue."""

from __future__ import annotations

import pytest

from collector.ingest.backpressure import (
    FLOOD,
    MANY_WAITING,
    MAX_PACE_MS,
    MOST_TURNS,
    MUTED_S,
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
    """A fleet of four that brings its backlog at once, or one gateway alone."""
    for number in (1, 2, 4):
        shares = Shares()
        names = [f"g{name}" for name in range(number)] * 500
        assert all(shares.admits(name, 0.0) for name in names)


def test_a_flood_that_lasts_is_muted_for_a_while() -> None:
    shares = Shares()
    for number in range(10):
        shares.admits(f"g{number}", 0.0)
    for step in range(FLOOD + MANY_WAITING):
        shares.admits("flood", step / 1000)
    assert shares.muted(10.0) == {"flood"}
    assert shares.muted(10.0 + MUTED_S) == frozenset()
    for step in range(FLOOD // 2):  # half of that within two minutes is no flood
        shares.admits("g1", 1000 + step)
    assert shares.muted(3000.0) == frozenset()
