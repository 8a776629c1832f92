"""The grade of loaded latency."""

from __future__ import annotations

import pytest

from agent.common.bufferbloat import Bloat, bloat
from agent.wire import SpeedReading


def reading(down_ms: float | None, up_ms: float | None, *flags: str) -> SpeedReading:
    return SpeedReading(idle_rtt_ms=20.0, loaded_rtt_down_ms=down_ms, loaded_rtt_up_ms=up_ms, flags=list(flags))


@pytest.mark.parametrize(
    ("rise_ms", "grade"),
    [
        (0, "A+"), (4.9, "A+"), (5, "A"), (29.9, "A"), (30, "B"), (59.9, "B"), (60, "C"), (199.9, "C"), (200, "D"),
        (399.9, "D"), (400, "F"), (9000, "F"),
    ],
)  # fmt: skip
def test_the_grade_is_that_of_the_public_scale(rise_ms: float, grade: str) -> None:
    found = bloat(reading(20 + rise_ms, 20 + rise_ms))
    assert found is not None
    assert found.grade == grade


def test_both_ways_count_alike_and_one_alone_counts_for_itself() -> None:
    assert bloat(reading(30.0, 110.0)) == Bloat("B", 10.0, 90.0)
    assert bloat(reading(None, 110.0)) == Bloat("C", None, 90.0)
    assert bloat(reading(15.0, None)) == Bloat("A+", 0.0, None)  # quicker than at rest: nothing queued


def test_where_nothing_queued_or_nothing_is_known_there_is_no_grade() -> None:
    assert bloat(reading(21.0, 21.0, "not_saturated")) is None
    assert bloat(reading(None, None)) is None
    assert bloat(SpeedReading(loaded_rtt_down_ms=20.0)) is None
