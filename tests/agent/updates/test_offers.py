"""Which release a gateway may take, and when it looks: decisions by tables."""

from __future__ import annotations

from datetime import datetime

import pytest

from agent.common.center_time import CENTER_TIME
from agent.updates.offers import Choice, GatewayPlace, OfferedRelease, Pace, Ring, choose, lot
from agent.updates.watch import Conditions, due_ms, is_due

NOW = 1_795_000_000_000
DAY_MS = 86_400_000
RINGS = [Ring(centers=["C-1"]), Ring(share=0.5, from_ms=NOW + DAY_MS), Ring(share=1.0, from_ms=NOW + 3 * DAY_MS)]


def place(center: str = "C-9", device: str = "d", running: str = "0.3.0", installed: str = "0.3.0") -> GatewayPlace:
    return GatewayPlace(center=center, device=device, running=running, installed=installed)


def release(version: str = "0.4.0", needs: str = "0.3.0", rings: list[Ring] = RINGS) -> OfferedRelease:
    return OfferedRelease(version=version, path="x.zip", needs=needs, rings=rings)


def code(at: GatewayPlace, opened: int, now_ms: int = NOW, **changes: str) -> str:
    return choose([release(**changes)], {"0.4.0": Pace(open=opened)}, at, now_ms).code  # type: ignore[arg-type]


EARLY = next(f"g{number}" for number in range(100) if lot("0.4.0", f"g{number}") < 0.5)
LATE = next(f"g{number}" for number in range(100) if lot("0.4.0", f"g{number}") >= 0.5)


@pytest.mark.parametrize(
    ("at", "opened", "days", "expected"),
    [
        (place("C-1"), 1, 0, "offered"),
        (place("C-1"), 0, 0, "held"),
        (place(device=EARLY), 1, 9, "held"),
        (place(device=EARLY), 2, 0, "early"),
        (place(device=EARLY), 2, 1, "offered"),
        (place(device=LATE), 2, 9, "held"),
        (place(device=LATE), 3, 2, "early"),
        (place(device=LATE), 3, 3, "offered"),
        (place("C-1", running="0.4.0"), 3, 9, "current"),
        (place("C-1", running="0.5.0"), 3, 9, "current"),
        (place("C-1", installed="0.2.9"), 3, 9, "package"),
    ],
)
def test_a_ring_needs_both_its_time_and_to_be_open(at: GatewayPlace, opened: int, days: int, expected: str) -> None:
    assert code(at, opened, NOW + days * DAY_MS) == expected


def test_a_release_without_a_pace_is_held_and_one_for_others_is_theirs() -> None:
    assert choose([release()], {}, place("C-1"), NOW).code == "held"
    assert choose([release(rings=RINGS[:1])], {"0.4.0": Pace(open=1)}, place("C-2"), NOW).code == "ring"
    assert choose([], {}, place(), NOW) == Choice("current")


def test_the_newest_that_may_be_taken_is_taken_also_when_a_newer_one_is_held() -> None:
    offered = [release("0.4.0"), release("0.10.0"), release("0.9.0")]
    paces = {"0.4.0": Pace(open=1), "0.9.0": Pace(open=1)}
    chosen = choose(offered, paces, place("C-1"), NOW).release
    assert chosen is not None
    assert chosen.version == "0.9.0"


def test_lots_are_spread_evenly_and_differ_from_release_to_release() -> None:
    devices = [f"device-{number}" for number in range(10_000)]
    for version in ("0.4.0", "0.5.0"):
        assert 900 < sum(lot(version, device) < 0.1 for device in devices) < 1100
    both = sum(lot("0.4.0", device) < 0.1 and lot("0.5.0", device) < 0.1 for device in devices)
    assert both < 150, "not always the same ones first"


def test_each_gateway_has_a_moment_of_its_own_in_the_night_and_looks_once() -> None:
    moments = [due_ms(NOW, "01:00-05:00", f"device-{number}")[0] for number in range(500)]
    hours = {datetime.fromtimestamp(moment / 1000, CENTER_TIME).hour for moment in moments}
    assert hours == {1, 2, 3, 4}
    moment, end = due_ms(NOW, "01:00-05:00", "d")
    assert not is_due(moment - 1, 0, "01:00-05:00", "d")
    assert is_due(moment, 0, "01:00-05:00", "d")
    assert is_due(end - 1, 0, "01:00-05:00", "d")
    assert not is_due(end, 0, "01:00-05:00", "d")
    assert not is_due(end - 1, moment, "01:00-05:00", "d")


@pytest.mark.parametrize(
    ("on_battery", "since_receipt_s", "skew_ms", "good"),
    [(False, 10, 0, True), (True, 10, 0, False), (False, 301, 0, False), (False, 10, -300_001, False)],
)
def test_nothing_is_taken_on_battery_nor_without_a_line_nor_by_a_wrong_clock(
    on_battery: bool, since_receipt_s: float, skew_ms: int, good: bool
) -> None:
    assert Conditions(on_battery=on_battery, since_receipt_s=since_receipt_s, skew_ms=skew_ms).are_good is good
