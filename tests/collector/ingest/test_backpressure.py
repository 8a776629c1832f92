"""The pause asked of gateways with a backlog: as long as all of them together need, and only while there is a queue."""

from __future__ import annotations

from collector.ingest.backpressure import MAX_PACE_MS, MOST_TURNS, WAIT_S, WINDOW_S, Backpressure

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
