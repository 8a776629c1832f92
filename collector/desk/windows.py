"""Maintenance windows: times of planned work in which incidents are not made (skip), make no messages (mute), or do as
always (run, for the record). They excuse nothing: what a center owes is the calendar's affair.

A window is about the centers that share a fact of the register (collector.common.groups); once, or again by a rule of
RFC 5545 §3.3.10 in the time of Pakistan, each time as long as the first.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from dateutil.rrule import rrule, rrulestr

from agent.common.center_time import TZ
from agent.common.reasons import Reason
from agent.common.words import CodedError
from collector.common.groups import Placed, SharedFact, fact_of
from collector.register import calendar
from collector.register.facts import key_of
from collector.store import schema
from collector.store.journal import journaled

Mode = Literal["skip", "mute", "run"]
MODES: tuple[Mode, ...] = get_args(Mode)
FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")  # a rule by the second would cost a look at each of them
PARTS = (
    "FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYMONTH", "BYSETPOS", "WKST",
)  # fmt: skip
UNTIL_UTC = re.compile(r"UNTIL=(\d{8}T\d{6})Z", re.IGNORECASE | re.ASCII)
NUMBER = re.compile(r"[1-9]\d{0,2}")  # of INTERVAL and COUNT
# RFC 5545 §3.3.10: of which FREQ a part may be.
ONLY_WITH: Mapping[str, tuple[str, ...]] = {
    "BYWEEKNO": ("YEARLY",), "BYYEARDAY": ("YEARLY",), "BYMONTHDAY": ("DAILY", "MONTHLY", "YEARLY"),
}  # fmt: skip
COMES_MS = 5 * 366 * 86_400_000  # a rule that does not come once in so long is a mistake
CYCLE_YEARS, LAST_YEAR = 400, 9990  # the calendar repeats after so many years, weekdays too; rules are looked at up to
LONGEST_MS = 31 * 86_400_000
MAX_RULE, MAX_REASON = 200, 300

_w = schema.windows.c
_PLACES = sa.select(*calendar.PLACED)
_ZONE = ZoneInfo(TZ)


class WindowError(CodedError):
    """A window cannot be; its code says why. `field` is what is to be corrected, as forms name it."""

    def __init__(self, code: str, field: str = "", /, **params: str | int) -> None:
        super().__init__(Reason.of(code, **params))
        self.field = field


@dataclass(frozen=True)
class MaintenanceWindow:
    """`from_ms` and `to_ms` are of the first time; without a rule there is no other."""

    scope: SharedFact
    subject: str
    mode: Mode
    from_ms: int
    to_ms: int
    rule: str = ""
    reason: str = ""
    id: int = 0

    def covers(self, place: Placed) -> bool:
        return key_of(fact_of(place, self.scope)) == key_of(self.subject)

    def until_ms(self, now_ms: int) -> int | None:
        """When the time ends that runs now; None if none does."""
        if now_ms < self.from_ms:
            return None
        if not self.rule:
            return self.to_ms if now_ms < self.to_ms else None
        began = _last(self.rule, self.from_ms, now_ms)
        if began is None:
            return None
        to_ms = int(began.replace(tzinfo=_ZONE).timestamp()) * 1000 + self.to_ms - self.from_ms
        return to_ms if now_ms < to_ms else None


def checked(window: MaintenanceWindow) -> MaintenanceWindow:
    """The window, if it can be. Raises WindowError."""
    if not window.subject.strip() or not window.subject.isprintable():
        raise WindowError("window.no_subject", "subject")
    if not 0 < window.to_ms - window.from_ms <= LONGEST_MS:
        raise WindowError("window.span", "to_time", n=LONGEST_MS // 86_400_000)
    if not window.reason.strip() or len(window.reason) > MAX_REASON:
        raise WindowError("window.no_reason", "reason", n=MAX_REASON)
    if window.rule:
        _check_rule(window)
    return window


def _check_rule(window: MaintenanceWindow) -> None:
    """Raises WindowError."""
    problem = WindowError("window.bad_rule", "rule", text=window.rule[:60])
    parts = _parts(window.rule)
    if wrong := next((name for name in parts if name not in PARTS), None):
        raise WindowError("window.bad_part", "rule", text=window.rule[:60], part=wrong[:20], parts=", ".join(PARTS))
    if parts.get("FREQ") not in FREQUENCIES or len(window.rule) > MAX_RULE or {"COUNT", "UNTIL"} <= set(parts):
        raise problem
    if not all(NUMBER.fullmatch(parts.get(name, "1")) for name in ("INTERVAL", "COUNT")):
        raise problem
    if wide := next((name for name, known in ONLY_WITH.items() if name in parts and parts["FREQ"] not in known), None):
        raise WindowError("window.part_of", "rule", part=wide, freq=parts["FREQ"], known=", ".join(ONLY_WITH[wide]))
    try:
        comes = _last(window.rule, window.from_ms, window.from_ms + COMES_MS)
    except (ValueError, TypeError, LookupError, OverflowError):
        raise problem from None
    if comes is None:
        raise WindowError("window.never", "rule", text=window.rule[:60])


def _parts(rule: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in rule.upper().split(";"))


def _last(text: str, from_ms: int, now_ms: int) -> datetime | None:
    """The last time by the rule that has begun. A rule that never comes is looked for up to the year 9999 by the
    library, so all is moved there by whole cycles of the calendar first, and ends now; its COUNT is counted here, as
    the library takes either of both. Raises ValueError."""
    start, now = _local(from_ms), _local(now_ms)
    rule = rrulestr(UNTIL_UTC.sub(_until_local, text), dtstart=start)
    if not isinstance(rule, rrule):
        raise ValueError("several rules in one")
    ends, years = getattr(rule, "_until", None), (LAST_YEAR - start.year) // CYCLE_YEARS * CYCLE_YEARS
    until = _moved(now if ends is None else min(ends, now), years)
    times = rule.replace(dtstart=_moved(start, years), until=until, count=None)
    count = int(_parts(text).get("COUNT", 0)) or None
    last: datetime | None = next(iter(deque(islice(times, count), maxlen=1)), None)
    return None if last is None else _moved(last, -years)


def _until_local(match: re.Match[str]) -> str:
    """RFC 5545 wants the end of a rule in UTC where its beginning has a zone. Raises ValueError."""
    at = datetime.strptime(match[1].upper(), "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return f"UNTIL={at.astimezone(_ZONE):%Y%m%dT%H%M%S}"


def _moved(at: datetime, years: int) -> datetime:
    return at.replace(year=at.year + years)


def _local(at_ms: int) -> datetime:
    """Without a zone, as rules are written: Pakistan has no summer time."""
    return datetime.fromtimestamp(at_ms // 1000, _ZONE).replace(tzinfo=None)


# ---------------------------------------------------------------- the table


def listing(conn: sa.Connection, *, ended: bool = False) -> list[MaintenanceWindow]:
    """Those that nobody has ended, by their beginning."""
    query = sa.select(schema.windows).order_by(_w.from_ms, _w.id)
    query = query if ended else query.where(_w.ended_ms.is_(None))
    return [
        MaintenanceWindow(row.scope, row.subject, row.mode, row.from_ms, row.to_ms, row.rule, row.reason, row.id)
        for row in conn.execute(query)
    ]


def holding(conn: sa.Connection, now_ms: int) -> list[tuple[MaintenanceWindow, int]]:
    """(window, end) of those that run now."""
    return [(one, until_ms) for one in listing(conn) if (until_ms := one.until_ms(now_ms)) is not None]


def times_of(planned: Iterable[tuple[MaintenanceWindow, int]], place: Placed, mode: Mode) -> list[tuple[int, int]]:
    """(beginning, end) of the times of this mode that a center is under."""
    mine = ((one, until_ms) for one, until_ms in planned if one.mode == mode and one.covers(place))
    return [(until_ms - (one.to_ms - one.from_ms), until_ms) for one, until_ms in mine]


def add(conn: sa.Connection, window: MaintenanceWindow, by: str, now_ms: int) -> int:
    """Its number. Raises WindowError."""
    made = checked(window)
    if not any(made.covers(place) for place in conn.execute(_PLACES)):
        raise WindowError("window.nobody", "subject", text=made.subject[:60])
    row = {
        "scope": made.scope, "subject": made.subject, "mode": made.mode, "from_ms": made.from_ms, "to_ms": made.to_ms,
        "rule": made.rule, "reason": made.reason, "recorded_ms": now_ms, "recorded_by": by,
    }  # fmt: skip
    key = conn.execute(sa.insert(schema.windows).values(row)).inserted_primary_key
    assert key is not None
    journaled(conn, schema.windows, int(key[0]))
    return int(key[0])


def end(conn: sa.Connection, number: int, by: str, now_ms: int) -> None:
    """It holds no more. Raises WindowError."""
    journaled(conn, schema.windows, number)
    mine = sa.update(schema.windows).where(_w.id == number, _w.ended_ms.is_(None))
    if conn.execute(mine.values(ended_ms=now_ms, ended_by=by)).rowcount != 1:
        raise WindowError("window.gone", number=number)
