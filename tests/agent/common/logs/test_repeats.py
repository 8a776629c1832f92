"""How often the same thing is written: counts are exact, memory is bounded."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from agent.common.logs.repeats import PER_GROUP, PER_KEY, WINDOW_S, Counted, Repeats


class Log:
    """What a handler does with `Repeats`, without the writing."""

    def __init__(self) -> None:
        self.repeats: Repeats[str] = Repeats()
        self.written: list[str] = []
        self.counted: list[Counted[str]] = []

    def put(self, group: str, key: str, now_s: float) -> None:
        self.counted += self.repeats.due(now_s)
        if self.repeats.admit(group, (key,), key, now_s):
            self.written.append(key)

    def total(self) -> int:
        return len(self.written) + sum(counted.count for counted in self.counted)


def test_ten_thousand_in_a_second_are_a_handful_of_lines_with_an_exact_count() -> None:
    log = Log()
    for number in range(10_000):
        log.put("disk_failed", "a", number / 10_000)
    assert log.repeats.is_counting
    log.counted += log.repeats.due(WINDOW_S)
    assert log.written == ["a"] * PER_KEY
    assert log.counted == [Counted("a", 10_000 - PER_KEY, is_mixed=False)]
    assert (len(log.repeats), log.repeats.is_counting) == (0, False)


def test_ten_thousand_devices_are_as_few_lines_and_as_little_memory() -> None:
    log = Log()
    for number in range(10_000):
        log.put("batch_refused", f"g{number}", number / 10_000)
        assert len(log.repeats) <= PER_GROUP + 1
    log.counted += log.repeats.due(math.inf)
    assert log.written == [f"g{number}" for number in range(PER_GROUP)]
    assert log.counted == [Counted("g9999", 10_000 - PER_GROUP, is_mixed=True)]


def test_a_storm_of_one_device_does_not_hide_another() -> None:
    log = Log()
    for number in range(1000):
        log.put("batch_refused", "loud", number / 1000)
    log.put("batch_refused", "other", 1.0)
    log.put("session_ended", "other", 1.0)
    assert log.written == ["loud"] * PER_KEY + ["other", "other"]


def test_after_a_minute_it_begins_anew_and_what_was_counted_comes_first() -> None:
    log = Log()
    for now_s in (0.0, 1.0, 2.0, 3.0, WINDOW_S - 0.01):
        log.put("disk_failed", "a", now_s)
    assert log.counted == []
    log.put("disk_failed", "a", WINDOW_S)
    assert log.counted == [Counted("a", 2, is_mixed=False)]
    assert log.written == ["a"] * (PER_KEY + 1)


@given(st.integers(0, 2**32), st.integers(1, 2000), st.integers(1, 3), st.integers(1, 100))
def test_nothing_is_lost_or_counted_twice(seed: int, items: int, groups: int, keys: int) -> None:
    chance = random.Random(seed)
    log, now_s = Log(), 0.0
    for _ in range(items):
        now_s += chance.expovariate(0.5 if chance.random() < 0.02 else 20)
        log.put(f"event{chance.randrange(groups)}", f"key{chance.randrange(keys)}", now_s)
        assert len(log.repeats) <= groups * (2 * PER_GROUP + 1)
    log.counted += log.repeats.due(math.inf)
    assert log.total() == items
    assert not log.repeats.is_counting
