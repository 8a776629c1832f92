"""When digests are due: days and times, holidays, and a collector that was away."""

from __future__ import annotations

import pytest

from collector.desk.routing.due import due_ms, parse_due
from collector.register.opening_hours import DayRule

MONDAY = 1_769_972_400_000  # 2026-02-02 00:00 in Karachi
MONDAY_ORDINAL = 739_649
HOUR, DAY = 3_600_000, 86_400_000
DAILY, WEEKLY = parse_due("Mon-Sat 09:00"), parse_due("Mon 09:00", moves=True)


def test_it_is_due_from_its_time_on_for_half_a_day() -> None:
    nine = MONDAY + 9 * HOUR
    assert due_ms(DAILY, nine - 1) is None
    assert due_ms(DAILY, nine) == due_ms(DAILY, nine + 12 * HOUR - 1) == nine
    assert due_ms(DAILY, nine + 12 * HOUR) is None
    assert due_ms(DAILY, nine + DAY) == nine + DAY
    assert due_ms(DAILY, nine + 6 * DAY) is None  # Sunday


def test_a_late_one_of_yesterday_is_made_after_midnight() -> None:
    late = parse_due("daily 20:00")
    assert due_ms(late, MONDAY + 2 * HOUR) == MONDAY - 4 * HOUR


def test_a_daily_one_is_left_out_on_a_holiday() -> None:
    monday_off = [DayRule(MONDAY_ORDINAL, MONDAY_ORDINAL)]
    assert due_ms(DAILY, MONDAY + 10 * HOUR, monday_off) is None
    assert due_ms(DAILY, MONDAY + DAY + 10 * HOUR, monday_off) == MONDAY + DAY + 9 * HOUR


def test_a_weekly_one_is_made_up_for_after_the_holidays() -> None:
    eid = [DayRule(MONDAY_ORDINAL, MONDAY_ORDINAL + 2)]
    found = [due_ms(WEEKLY, MONDAY + day * DAY + 10 * HOUR, eid) for day in range(5)]
    assert found == [None, None, None, MONDAY + 3 * DAY + 9 * HOUR, None]
    assert due_ms(WEEKLY, MONDAY + DAY + 10 * HOUR) is None
    endless = [DayRule(1, 2**40)]
    assert due_ms(WEEKLY, MONDAY + 10 * HOUR, endless) is None


@pytest.mark.parametrize("text", ["", "09:00", "Mon", "Mon 25:00", "Someday 09:00", "Mon 9:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Mon-Sat 09:00"):
        parse_due(text)
