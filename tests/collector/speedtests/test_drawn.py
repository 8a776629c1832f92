"""Tests that the collector draws: one a slot and center, at moments that nobody can tell without the secret."""

from __future__ import annotations

from collections import Counter

import pytest

from agent.common.center_time import slot_minutes
from collector.speedtests import drawn

NOON = 1_795_071_600_000  # Thursday 2026-11-19 12:00 in Karachi
SECRET, MINUTE = b"s" * 32, 60_000
SLOTS = ("10:00-13:00", "14:00-17:00")
CENTERS = [f"LHR-{n}" for n in range(200)]


def day(secret: bytes = SECRET, centers=CENTERS, live=lambda _center, _at_ms: True) -> dict[tuple[str, str], list[int]]:
    """When each test of a day is granted, by center and slot, if the collector looks each minute."""
    granted: dict[str, int] = {}
    where: dict[str, tuple[str, str]] = {}
    for minute in range(-3 * 60, 6 * 60):
        now_ms = NOON + minute * MINUTE
        for test in drawn.due(secret, centers, drawn.slots_of(now_ms, SLOTS), now_ms):
            if live(test.center, now_ms):
                granted.setdefault(test.test_id, now_ms)
                where[test.test_id] = (test.center, test.slot)
    found: dict[tuple[str, str], list[int]] = {}
    for test_id, at_ms in granted.items():
        found.setdefault(where[test_id], []).append(at_ms)
    return found


def test_each_slot_has_a_test_in_its_time_and_some_have_a_second() -> None:
    found = day()
    assert set(found) == {(center, f"2026-11-19 {slot}") for center in CENTERS for slot in SLOTS}
    for (_, slot), moments in found.items():
        first, last = slot_minutes(slot.split(" ")[1])
        midnight = NOON - 12 * 60 * MINUTE
        assert all(first <= (at_ms - midnight) / MINUTE <= last - 0.2 * (last - first) + 1 for at_ms in moments)
    counts = Counter(len(moments) for moments in found.values())
    assert counts.keys() == {1, 2}
    assert counts[2] / len(found) == pytest.approx(drawn.SECOND_SHARE, abs=0.06)


def test_the_moments_are_spread_and_another_secret_has_others() -> None:
    found, other = day(), day(b"t" * 32)
    hours = Counter((moments[0] - NOON) // (60 * MINUTE) for moments in found.values())
    assert max(hours.values()) < 0.45 * len(found)
    assert sum(found[key] == other[key] for key in found) < 0.05 * len(found)


def test_a_center_that_is_dark_at_its_moment_gets_another() -> None:
    first = {key: moments[0] for key, moments in day(centers=CENTERS[:50]).items()}
    dark = {(center, at_ms + step * MINUTE) for (center, _), at_ms in first.items() for step in range(5)}
    again = day(centers=CENTERS[:50], live=lambda center, at_ms: (center, at_ms) not in dark)
    assert len(again) > 0.9 * len(first)
    assert all(min(moments) != first[key] for key, moments in again.items())
