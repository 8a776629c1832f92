"""Who is on duty: turns, hours, holidays, overrides."""

from __future__ import annotations

from dataclasses import replace

from collector.desk.routing.rota import Rota, RotaOverride, on_duty, upcoming
from collector.register.opening_hours import DayRule

MONDAY = 1_769_972_400_000  # 2026-02-02 00:00 in Karachi
HOUR, DAY = 3_600_000, 86_400_000
ROTA = Rota("desk", ("ayesha", "bilal", "chand"), MONDAY, turn_s=86_400)
MONDAY_ORDINAL = 739_649


def test_members_take_turns_of_equal_length() -> None:
    assert [on_duty(ROTA, MONDAY + day * DAY + HOUR) for day in range(4)] == ["ayesha", "bilal", "chand", "ayesha"]
    assert on_duty(ROTA, MONDAY + DAY - 1) == "ayesha"
    assert on_duty(ROTA, MONDAY + DAY) == "bilal"
    assert on_duty(ROTA, MONDAY - 1) is None
    assert on_duty(replace(ROTA, members=()), MONDAY) is None


def test_outside_of_the_hours_nobody_is_on_duty() -> None:
    day_shift = replace(ROTA, hours="Mon-Fri 09:00-17:00")
    assert on_duty(day_shift, MONDAY + 10 * HOUR) == "ayesha"
    assert on_duty(day_shift, MONDAY + 17 * HOUR) is None
    assert on_duty(day_shift, MONDAY + 5 * DAY + 10 * HOUR) is None


def test_on_a_holiday_nobody_is_on_duty_unless_the_rota_says_so() -> None:
    holiday = (DayRule(MONDAY_ORDINAL, MONDAY_ORDINAL),)
    assert on_duty(ROTA, MONDAY + HOUR, holiday) == "ayesha"
    off = replace(ROTA, on_holidays=False)
    assert on_duty(off, MONDAY + HOUR, holiday) is None
    assert on_duty(off, MONDAY + DAY + HOUR, holiday) == "bilal"


def test_the_last_override_that_holds_comes_before_the_turn() -> None:
    ill = RotaOverride("bilal", MONDAY, MONDAY + 12 * HOUR, id=1)
    changed_again = RotaOverride("", MONDAY + 6 * HOUR, MONDAY + 7 * HOUR, id=2)
    rota = replace(ROTA, hours="Tue 09:00-10:00", overrides=(ill, changed_again))
    assert on_duty(rota, MONDAY) == "bilal"
    assert on_duty(rota, MONDAY + 6 * HOUR) is None
    assert on_duty(rota, MONDAY + 7 * HOUR) == "bilal"
    assert on_duty(rota, MONDAY + 12 * HOUR) is None


def test_the_next_turns_are_foreseen() -> None:
    found = upcoming(ROTA, MONDAY + DAY + HOUR, 3)
    assert found == [(MONDAY + DAY, "bilal"), (MONDAY + 2 * DAY, "chand"), (MONDAY + 3 * DAY, "ayesha")]
