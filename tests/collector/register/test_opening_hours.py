"""Opening hours: what they mean, and what is refused with which sentence."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.common.center_time import TZ
from collector.register.opening_hours import after_open, is_open, open_minutes, parse, spans_between

KARACHI = ZoneInfo(TZ)
HOUR = 3_600_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=KARACHI).timestamp() * 1000)


def test_a_center_is_open_from_its_first_minute_to_just_before_its_last() -> None:
    opening = parse("Mon-Sat 09:00-21:00; Sun 10:00-16:00")
    assert not is_open(opening, at("2026-01-05T08:59:59"))  # a Monday
    assert is_open(opening, at("2026-01-05T09:00"))
    assert is_open(opening, at("2026-01-05T20:59:59"))
    assert not is_open(opening, at("2026-01-05T21:00"))
    assert not is_open(opening, at("2026-01-04T09:30"))  # a Sunday
    assert is_open(opening, at("2026-01-04T10:00"))


def test_hours_are_local_not_utc() -> None:
    opening = parse("daily 09:00-10:00")
    assert is_open(opening, int(datetime(2026, 1, 5, 4, 30, tzinfo=UTC).timestamp() * 1000))
    assert not is_open(opening, int(datetime(2026, 1, 5, 9, 30, tzinfo=UTC).timestamp() * 1000))


def test_hours_that_run_past_midnight_belong_to_both_days() -> None:
    opening = parse("Sun 18:00-02:00")
    assert is_open(opening, at("2026-01-04T23:59"))
    assert is_open(opening, at("2026-01-05T01:59"))  # Monday, through the week's end
    assert not is_open(opening, at("2026-01-05T02:00"))
    assert not is_open(opening, at("2026-01-05T18:00"))


def test_a_day_may_have_a_break_and_may_be_closed() -> None:
    opening = parse("Mon-Thu,Sat 09:00-13:00,14:00-18:00; Fri closed")
    assert not is_open(opening, at("2026-01-05T13:30"))
    assert not is_open(opening, at("2026-01-09T10:00"))  # a Friday
    assert not is_open(opening, at("2026-01-11T10:00"))  # Sunday was not named
    assert open_minutes(opening, at("2026-01-05T00:00"), at("2026-01-12T00:00")) == 5 * 8 * 60


def test_open_minutes_count_only_what_lies_between() -> None:
    opening = parse("Mon-Sat 09:00-21:00")
    assert open_minutes(opening, at("2026-01-05T20:30"), at("2026-01-06T09:10")) == 40
    assert open_minutes(opening, at("2026-01-05T10:00"), at("2026-01-05T10:00")) == 0
    assert open_minutes(parse("always"), at("2026-01-01T00:00"), at("2026-02-01T00:00")) == 31 * 1440


def test_open_time_runs_on_the_next_morning() -> None:
    opening = parse("Mon-Sat 09:00-21:00")
    assert after_open(opening, at("2026-01-05T20:50"), HOUR // 4) == at("2026-01-06T09:05")
    assert after_open(opening, at("2026-01-05T12:00"), HOUR) == at("2026-01-05T13:00")
    assert after_open(opening, at("2026-01-05T20:00"), HOUR) == at("2026-01-05T21:00")
    # Saturday's last minute waits for Monday.
    assert after_open(opening, at("2026-01-10T20:59"), 2 * 60_000) == at("2026-01-12T09:01")


def test_a_center_that_never_opens_owes_no_open_time() -> None:
    assert after_open(parse("daily closed"), at("2026-01-05T12:00"), HOUR) is None


def test_other_time_zones_keep_their_own_clock_through_a_change() -> None:
    opening = parse("daily 00:00-24:00", "Europe/Berlin")
    spring = ZoneInfo("Europe/Berlin")
    start = int(datetime(2026, 3, 29, tzinfo=spring).timestamp() * 1000)
    end = int(datetime(2026, 3, 30, tzinfo=spring).timestamp() * 1000)
    assert open_minutes(opening, start, end) == 23 * 60


@given(st.integers(0, 4_000_000_000_000), st.integers(0, 20 * 24 * 60))
def test_counting_minutes_one_by_one_gives_the_same(start: int, minutes: int) -> None:
    opening = parse("Mon-Thu 09:00-13:00,14:00-21:00; Fri 15:00-01:30; Sun 00:00-24:00")
    start -= start % 60_000
    one_by_one = sum(is_open(opening, start + i * 60_000) for i in range(minutes))
    assert open_minutes(opening, start, start + minutes * 60_000) == one_by_one


def test_spans_are_cut_at_both_ends() -> None:
    opening = parse("daily 09:00-12:00")
    span = at("2026-01-05T10:00"), at("2026-01-06T10:00")
    assert list(spans_between(opening, *span)) == [
        (at("2026-01-05T10:00"), at("2026-01-05T12:00")),
        (at("2026-01-06T09:00"), at("2026-01-06T10:00")),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "opening hours are empty; write e.g. Mon-Sat 09:00-21:00, or always"),
        ("Mon", "opening hours 'Mon': days and hours are needed; write e.g. Mon-Sat 09:00-21:00"),
        (
            "Monday 09:00-10:00",
            "opening hours: 'Monday' is not a day; days are Mon Tue Wed Thu Fri Sat Sun, as in Mon-Sat or Mon,Wed",
        ),
        ("Mon 9-17", "opening hours: '9-17' are not hours; write two-digit hours and minutes, e.g. 09:00-21:00"),
        ("Mon 09:00-25:00", "opening hours: '09:00-25:00' is no time of day; the day runs from 00:00 to 24:00"),
        ("Mon 09:61-10:00", "opening hours: '09:61-10:00' is no time of day; the day runs from 00:00 to 24:00"),
        ("Mon 09:00-09:00", "opening hours: '09:00-09:00' is empty; for the whole day write 00:00-24:00"),
        (
            "Mon 09:00-10:00; Mon 11:00-12:00",
            "opening hours 'Mon 09:00-10:00; Mon 11:00-12:00': Mon is named twice; "
            "write its hours as 09:00-13:00,14:00-21:00",
        ),
        (
            "Mon 09:00-12:00,11:00-13:00",
            "opening hours 'Mon 09:00-12:00,11:00-13:00': hours overlap on Mon; give each minute once",
        ),
    ],
)
def test_a_mistake_is_told_with_its_fix(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        parse(text)


def test_an_unknown_time_zone_is_told() -> None:
    with pytest.raises(ValueError, match=r"time zone 'Asia/Atlantis' is not known here; write e.g. Asia/Karachi"):
        is_open(parse("always", "Asia/Atlantis"), 0)
