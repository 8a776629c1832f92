"""Opening hours: "Mon-Sat 09:00-21:00; Sun 10:00-16:00" and the questions asked of them. Pure.

Rules are separated by `;`. A rule names days (`Mon`, `Mon-Sat`, `Mon,Wed`, `daily`) and their hours
(`09:00-13:00,14:00-21:00`, or `closed`). Hours that end before they begin run past midnight. `always` is short for
`daily 00:00-24:00`. Days that no rule names are closed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from agent.common.center_time import TZ

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY_MINUTES = 24 * 60
MINUTE_MS = 60_000
LOOK_AHEAD_DAYS = 8  # a week and a day holds an opening of every timetable that has one
LOOK_AHEAD_RULED_DAYS = 45  # past the longest time for which a calendar closes a place

_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")


DaySpans = tuple[tuple[int, int], ...]  # (from, to) minutes of a local day, ascending and disjoint


@dataclass(frozen=True)
class DayRule:
    """What a calendar says of the days from `first` to `last` (both of them, by their ordinals): without hours they are
    closed; with hours they are open within these, on the days of the week that the text names. An `own` rule was made
    for this one place: its hours take the place of the usual ones, and hold on a day that is closed for others."""

    first: int
    last: int
    hours: str = ""
    own: bool = False


@dataclass(frozen=True)
class Opening:
    """`week[0]` is Monday's open spans."""

    week: tuple[DaySpans, ...]
    tz: str
    text: str
    rules: tuple[DayRule, ...] = ()

    def on(self, day: date) -> DaySpans:
        """When it is open on that day."""
        usual = self.week[day.weekday()]
        number = day.toordinal()
        rules = [rule for rule in self.rules if rule.first <= number <= rule.last] if self.rules else []
        if not rules:
            return usual
        named = [rule for rule in rules if rule.hours and day.weekday() in named_days(rule.hours)]
        if own := [rule for rule in named if rule.own]:
            return parse(own[-1].hours, self.tz).week[day.weekday()]
        if any(not rule.hours for rule in rules):
            return ()
        for rule in named:
            usual = _both(usual, parse(rule.hours, self.tz).week[day.weekday()])
        return usual


def _both(one: DaySpans, other: DaySpans) -> DaySpans:
    """The times that are in both."""
    overlaps = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return tuple(sorted((start, end) for start, end in overlaps if start < end))


@lru_cache(maxsize=1024)
def named_days(text: str) -> frozenset[int]:
    """The days of the week that opening hours speak of, open or closed; Monday is 0."""
    if text.strip() == "always":
        return frozenset(range(7))
    rules = (rule.split(None, 1) for rule in text.split(";") if rule.strip())
    return frozenset(day % 7 for rule in rules for day in _days(rule[0]))


@lru_cache(maxsize=4096)
def parse(text: str, tz: str = TZ, rules: tuple[DayRule, ...] = ()) -> Opening:
    """Opening hours from their text, under the rules of a calendar. Raises ValueError with the rule that is broken and
    an example of the fix."""
    days: dict[int, list[tuple[int, int]]] = {}
    parts = [part.strip() for part in ("daily 00:00-24:00" if text.strip() == "always" else text).split(";")]
    for rule in filter(None, parts):
        words = rule.split(None, 1)
        if len(words) != 2:
            raise ValueError(f"opening hours {rule!r}: days and hours are needed; write e.g. Mon-Sat 09:00-21:00")
        named = _days(words[0])
        if twice := [DAYS[day] for day in named if day in days]:
            raise ValueError(
                f"opening hours {text!r}: {twice[0]} is named twice; write its hours as 09:00-13:00,14:00-21:00"
            )
        days.update((day, _hours(words[1])) for day in named)
    if not days:
        raise ValueError("opening hours are empty; write e.g. Mon-Sat 09:00-21:00, or always")
    return Opening(_week(days, text), tz, text, rules)


def _days(text: str) -> list[int]:
    if text == "daily":
        return list(range(7))
    days: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(
                f"opening hours: {part!r} is not a day; days are {' '.join(DAYS)}, as in Mon-Sat or Mon,Wed"
            )
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        days += [day % 7 for day in range(start, (end if end >= start else end + 7) + 1)]
    return days


def _hours(text: str) -> list[tuple[int, int]]:
    if text == "closed":
        return []
    return [_span(part.strip()) for part in text.split(",")]


def _span(text: str) -> tuple[int, int]:
    """(from, to) in minutes of the day; `to` past 24:00 when the hours run past midnight."""
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError(f"opening hours: {text!r} are not hours; write two-digit hours and minutes, e.g. 09:00-21:00")
    hour_from, minute_from, hour_to, minute_to = (int(part) for part in match.groups())
    start, end = hour_from * 60 + minute_from, hour_to * 60 + minute_to
    if max(minute_from, minute_to) > 59 or start >= DAY_MINUTES or end > DAY_MINUTES:
        raise ValueError(f"opening hours: {text!r} is no time of day; the day runs from 00:00 to 24:00")
    if start == end:
        raise ValueError(f"opening hours: {text!r} is empty; for the whole day write 00:00-24:00")
    return start, end if end > start else end + DAY_MINUTES


def _week(days: dict[int, list[tuple[int, int]]], text: str) -> tuple[tuple[tuple[int, int], ...], ...]:
    week: list[list[tuple[int, int]]] = [[] for _ in range(7)]
    for day, spans in days.items():
        for start, end in spans:
            week[day].append((start, min(end, DAY_MINUTES)))
            if end > DAY_MINUTES:
                week[(day + 1) % 7].append((0, end - DAY_MINUTES))
    for day, spans in enumerate(week):
        spans.sort()
        if any(end > after for (_, end), (after, _) in itertools.pairwise(spans)):
            raise ValueError(f"opening hours {text!r}: hours overlap on {DAYS[day]}; give each minute once")
    return tuple(tuple(spans) for spans in week)


def is_open(opening: Opening, at_ms: int) -> bool:
    """Whether the center is open at this instant (milliseconds since 1970 UTC)."""
    local = datetime.fromtimestamp(at_ms / 1000, _zone(opening.tz))
    minute = local.hour * 60 + local.minute
    return any(start <= minute < end for start, end in opening.on(local.date()))


def spans_between(opening: Opening, from_ms: int, to_ms: int) -> Iterator[tuple[int, int]]:
    """The open times within [from_ms, to_ms) as (from, to) in milliseconds UTC, ascending and disjoint."""
    zone = _zone(opening.tz)
    day = datetime.fromtimestamp(from_ms / 1000, zone).date()
    while _utc_ms(day, 0, zone) < to_ms:
        for start, end in opening.on(day):
            span_from, span_to = max(from_ms, _utc_ms(day, start, zone)), min(to_ms, _utc_ms(day, end, zone))
            if span_from < span_to:
                yield span_from, span_to
        day += timedelta(days=1)


def open_minutes(opening: Opening, from_ms: int, to_ms: int) -> int:
    """Whole open minutes within [from_ms, to_ms)."""
    return open_ms(opening, from_ms, to_ms) // MINUTE_MS


def open_ms(opening: Opening, from_ms: int, to_ms: int) -> int:
    return sum(end - start for start, end in spans_between(opening, from_ms, to_ms))


def after_open(opening: Opening, from_ms: int, wanted_ms: int) -> int | None:
    """The instant by which `wanted_ms` of open time have passed since `from_ms`; None if it never opens."""
    left = wanted_ms
    days = LOOK_AHEAD_RULED_DAYS if opening.rules else LOOK_AHEAD_DAYS
    horizon_ms = from_ms + days * DAY_MINUTES * MINUTE_MS
    for start, end in spans_between(opening, from_ms, horizon_ms):
        if end - start >= left:
            return start + left
        left -= end - start
    return None


def next_opening(opening: Opening, after_ms: int) -> int | None:
    """When it opens next (milliseconds since 1970 UTC), or `after_ms` while it is open; None if it never opens."""
    horizon_ms = after_ms + LOOK_AHEAD_DAYS * DAY_MINUTES * MINUTE_MS
    return next((start for start, _ in spans_between(opening, after_ms, horizon_ms)), None)


def local(at_ms: int, tz: str) -> str:
    """A time as people there write it: "2026-01-31 18:05 PKT"."""
    return datetime.fromtimestamp(at_ms / 1000, _zone(tz)).strftime("%Y-%m-%d %H:%M %Z")


def _utc_ms(day: date, minute: int, zone: ZoneInfo) -> int:
    local = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=minute)
    return int(local.astimezone(UTC).timestamp()) * 1000


@lru_cache(maxsize=16)
def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (KeyError, ValueError, OSError, RecursionError):  # the last for a path of thousands of steps
        raise ValueError(f"time zone {tz!r} is not known here; write e.g. {TZ}") from None
