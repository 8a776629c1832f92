"""When a digest is due: "Mon-Sat 09:00" in Pakistan. On a holiday a daily one is left out, a weekly one comes on the
next day that is none. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from agent.common.center_time import TZ
from collector.register.opening_hours import DayRule, named_days

LONGEST_DAYS = 31  # of holidays in a row that are looked back at
LATE_S = 12 * 3600  # a digest that could not be made for so long is left out
_FORM = re.compile(r"([\w,-]+) (\d\d):(\d\d)")


@dataclass(frozen=True)
class DueTime:
    """`days` of the week, Monday is 0. One that `moves` is made up for after a holiday."""

    days: frozenset[int]
    minute: int
    moves: bool = False


def parse_due(text: str, *, moves: bool = False) -> DueTime:
    """Raises ValueError."""
    match = _FORM.fullmatch(text.strip())
    if match is None or int(match[2]) > 23 or int(match[3]) > 59:
        raise ValueError(f'{text[:40]!r} is no time; write such as "Mon-Sat 09:00"')
    try:
        days = named_days(f"{match[1]} closed")
    except ValueError:
        raise ValueError(f'{text[:40]!r} names no days; write such as "Mon-Sat 09:00"') from None
    return DueTime(days, int(match[2]) * 60 + int(match[3]), moves)


def due_ms(due: DueTime, now_ms: int, holidays: Collection[DayRule] = (), tz: str = TZ) -> int | None:
    """The time for which a digest is to be made now; None: there is none. The same time for every call until the next
    one, so that it can be the name of what was made."""
    zone = ZoneInfo(tz)
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    for day in (today, today - timedelta(days=1)):
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
        at_ms = int((midnight + timedelta(minutes=due.minute)).timestamp()) * 1000
        if at_ms <= now_ms < at_ms + LATE_S * 1000 and _is_day(due, day, holidays):
            return at_ms
    return None


def _is_day(due: DueTime, day: date, holidays: Collection[DayRule]) -> bool:
    if _is_holiday(day, holidays):
        return False
    if day.weekday() in due.days:
        return True
    if not due.moves:
        return False
    for past in range(1, LONGEST_DAYS):
        before = day - timedelta(days=past)
        if not _is_holiday(before, holidays):
            return False
        if before.weekday() in due.days:
            return True
    return False


def _is_holiday(day: date, holidays: Collection[DayRule]) -> bool:
    return any(rule.first <= day.toordinal() <= rule.last for rule in holidays)
