"""The calendar: holidays, other hours (Ramadan, Fridays), closures, maintenance, and load-shedding schedules.

An entry holds from one time to another for everybody, or for the centers that share a fact of the register
(collector.common.groups).
Holidays and other hours change when a center is open (`Calendar.rules`). Closures and maintenance leave it open and
excuse the time (collector.reports.exclusions), and so does what a decided dispute takes out; they need a second person,
as does every entry about days that are over.
A schedule of load-shedding excuses nothing by itself. A day that depends on the moon waits until a person confirms it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from agent.common.center_time import TZ
from agent.common.errors import describe
from collector.common.groups import ATTRIBUTES, SHARED_FACTS, Placed, SharedFact, fact_of
from collector.register.facts import FactError, another, key_of
from collector.register.opening_hours import DayRule, named_days, parse
from collector.store import schema
from collector.store.journal import journaled, leaves

EntryKind = Literal["holiday", "hours", "closure", "maintenance", "shedding", "dispute"]
Scope = Literal["all"] | SharedFact
KINDS: tuple[EntryKind, ...] = get_args(EntryKind)
SCOPES: tuple[Scope, ...] = ("all", *SHARED_FACTS[::-1])
WITH_HOURS = ("hours", "shedding")
EXCUSING: tuple[EntryKind, ...] = ("closure", "maintenance", "dispute")
BY_HAND: tuple[EntryKind, ...] = tuple(kind for kind in KINDS if kind != "dispute")  # that people enter
RULING: tuple[EntryKind, ...] = ("holiday", "hours")

DAY_MS = 86_400_000
AROUND_MS = 60 * DAY_MS  # what judging now may need of the calendar, before and after
FOR_EVER = 2**40  # as a day's ordinal
MAX_NAME = 200

ESTIMATED = " (estimated)"
# Holidays that follow the moon: even where the library has a past year's day, a person confirms it.
MOON = re.compile(r"Eid|Ashura|Prophet|Ramadan|Chand")

_k, _ce = schema.calendar.c, schema.centers.c
# What is asked of rows of the register that are held against entries.
PLACED = tuple(_ce["center" if name == "code" else name].label(name) for name in ATTRIBUTES.values())


class CalendarError(Exception):
    """An entry cannot be; one sentence with the thing, the rule and the fix."""


@dataclass(frozen=True, kw_only=True)
class CalendarEntry:
    """One row. `to_ms` is exclusive; None: until another one. A day that `is_estimated` was not confirmed yet."""

    id: int = 0
    kind: EntryKind
    scope: Scope
    subject: str = ""
    from_ms: int
    to_ms: int | None = None
    hours: str = ""
    name: str = ""
    name_ur: str = ""
    is_estimated: bool = False
    needs_second: bool = False
    recorded_ms: int = 0
    recorded_by: str = ""
    reason: str = ""
    evidence: tuple[Mapping[str, object], ...] = ()
    confirmed_ms: int | None = None
    confirmed_by: str = ""
    withdrawn_ms: int | None = None
    withdrawn_by: str = ""
    withdrawn_why: str = ""

    @property
    def state(self) -> Literal["holds", "waiting", "withdrawn"]:
        if self.withdrawn_ms is not None:
            return "withdrawn"
        return "waiting" if (self.needs_second or self.is_estimated) and self.confirmed_ms is None else "holds"

    def covers(self, center: Placed) -> bool:
        if self.scope == "all":
            return True
        return key_of(fact_of(center, self.scope)) == self._key

    @cached_property
    def _key(self) -> str:
        return key_of(self.subject)

    def touches(self, from_ms: int, to_ms: int) -> bool:
        return self.from_ms < to_ms and (self.to_ms is None or self.to_ms > from_ms)

    @cached_property
    def rule(self) -> DayRule:
        last = FOR_EVER if self.to_ms is None else _ordinal(self.to_ms - 1)
        return DayRule(_ordinal(self.from_ms), last, self.hours, own=self.scope == "center")


@dataclass(frozen=True)
class Calendar:
    """Entries that hold, in the order of their recording. Pure: what it says depends on these alone."""

    entries: tuple[CalendarEntry, ...] = ()

    def rules(self, center: Placed) -> tuple[DayRule, ...]:
        """What holidays and other hours make of this center's days, for `opening_hours.parse`."""
        return tuple(entry.rule for entry in self._ruling if entry.covers(center))

    @property
    def common(self) -> tuple[DayRule, ...]:
        """The rules of every center."""
        return tuple(entry.rule for entry in self._ruling if entry.scope == "all")

    def excusing(self, center: Placed, from_ms: int, to_ms: int) -> list[CalendarEntry]:
        """Closures and maintenance of this center, or of what it shares with others, that touch a time."""
        return [one for one in self._excusing if one.touches(from_ms, to_ms) and one.covers(center)]

    def shedding(self, feeder: str, at_ms: int) -> CalendarEntry | None:
        """The schedule of a feeder that holds then: of several the one that begins last."""
        mine = [one for one in self._schedules.get(key_of(feeder), ()) if one.touches(at_ms, at_ms + 1)]
        return max(mine, key=lambda one: (one.from_ms, one.id)) if mine else None

    @cached_property
    def _ruling(self) -> list[CalendarEntry]:
        return [one for one in self.entries if one.kind in RULING and one.state == "holds"]

    @cached_property
    def _excusing(self) -> list[CalendarEntry]:
        return [one for one in self.entries if one.kind in EXCUSING and one.state == "holds"]

    @cached_property
    def _schedules(self) -> dict[str, list[CalendarEntry]]:
        by_feeder: dict[str, list[CalendarEntry]] = {}
        for one in self.entries:
            if one.kind == "shedding" and one.state == "holds":
                by_feeder.setdefault(key_of(one.subject), []).append(one)
        return by_feeder


def begins_ms(day: date) -> int:
    """When a day begins in Pakistan."""
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(TZ)).timestamp()) * 1000


def _ordinal(at_ms: int) -> int:
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(TZ)).toordinal()


# ---------------------------------------------------------------- asking


_BETWEEN = (
    sa.select(schema.calendar)
    .where(_k.from_ms < sa.bindparam("to_ms"), _k.to_ms.is_(None) | (_k.to_ms > sa.bindparam("from_ms")))
    .where(_k.withdrawn_ms.is_(None), _k.kind.in_(sa.bindparam("kinds", expanding=True)))
    .order_by(_k.id)
)  # made once: every transaction of readings asks


def between(conn: sa.Connection, from_ms: int, to_ms: int, kinds: Iterable[EntryKind] = KINDS) -> Calendar:
    """What holds at any time of a period."""
    rows = conn.execute(_BETWEEN, {"from_ms": from_ms, "to_ms": to_ms, "kinds": list(kinds)}).all()
    return _calendar(tuple(map(tuple, rows))) if rows else Calendar()


@lru_cache(maxsize=8)
def _calendar(rows: tuple[tuple[Any, ...], ...]) -> Calendar:
    """The same rows are the same calendar, made once."""
    names = [column.name for column in schema.calendar.c]
    entries = (_entry(dict(zip(names, row, strict=True))) for row in rows)
    return Calendar(tuple(entry for entry in entries if entry.state == "holds"))


def around(conn: sa.Connection, now_ms: int) -> Calendar:
    """What judging needs that speaks of now: whether a center is open, was lately, and will be."""
    return between(conn, now_ms - AROUND_MS, now_ms + AROUND_MS, RULING)


def listed(conn: sa.Connection, from_ms: int, to_ms: int, kinds: Iterable[EntryKind] = KINDS) -> list[CalendarEntry]:
    """Every entry that touches a time, withdrawn and waiting ones too."""
    mine = (_k.from_ms < to_ms) & (_k.to_ms.is_(None) | (_k.to_ms > from_ms)) & _k.kind.in_(tuple(kinds))
    rows = conn.execute(sa.select(schema.calendar).where(mine).order_by(_k.from_ms, _k.id))
    return [_entry(row._asdict()) for row in rows]


def by_ids(conn: sa.Connection, ids: Iterable[int]) -> list[CalendarEntry]:
    """Raises CalendarError where there is none."""
    wanted = sorted(set(ids))
    rows = conn.execute(sa.select(schema.calendar).where(_k.id.in_(wanted)).order_by(_k.id))
    entries = [_entry(row._asdict()) for row in rows]
    if lacking := set(wanted) - {entry.id for entry in entries}:
        raise CalendarError(f"entry {min(lacking)}: does not exist; see `nabz-collector calendar list`")
    return entries


def _entry(row: Mapping[str, Any]) -> CalendarEntry:
    values = dict(row)
    values["evidence"] = tuple(msgspec.json.decode(values["evidence"]))
    return CalendarEntry(**values)


# ---------------------------------------------------------------- changing


def add(conn: sa.Connection, entries: Sequence[CalendarEntry], second: str = "") -> list[CalendarEntry]:
    """Records entries; what needs a second person waits for one, unless `second` is named: what excuses, and what has
    begun, today too, as hours of today that are over would be otherwise. Raises CalendarError, FactError."""
    made = []
    for entry in entries:
        check(entry)
        needs = needs_second(entry)
        by = another(entry.recorded_by, second) if needs and second else ""
        row = _row(entry) | {
            "needs_second": needs, "confirmed_ms": entry.recorded_ms if by else None, "confirmed_by": by,
        }  # fmt: skip
        number = conn.execute(sa.insert(schema.calendar).values(row).returning(_k.id)).scalar_one()
        _note(conn, [number], entry.recorded_ms)
        made += by_ids(conn, [number])
    return made


def needs_second(entry: CalendarEntry) -> bool:
    return entry.kind in EXCUSING or (entry.from_ms <= entry.recorded_ms and entry.kind != "shedding")


def check(entry: CalendarEntry) -> None:
    """Raises CalendarError."""
    head = f"calendar {entry.kind}"
    if (entry.scope == "all") != (not entry.subject):
        raise CalendarError(f"{head}: {entry.scope} needs {'no name' if entry.scope == 'all' else 'a name'}")
    if entry.kind == "shedding" and entry.scope != "feeder":
        raise CalendarError(f"{head}: load-shedding is of a feeder; name one")
    if entry.to_ms is not None and entry.to_ms <= entry.from_ms:
        raise CalendarError(f"{head}: ends before it begins; name a later end")
    if entry.to_ms is None and entry.kind not in WITH_HOURS:
        raise CalendarError(f"{head}: needs an end; only hours and schedules may hold until another one")
    if (entry.kind in WITH_HOURS) != bool(entry.hours):
        raise CalendarError(f"{head}: {'needs hours, such as Fri 09:00-12:30' if not entry.hours else 'has no hours'}")
    if entry.hours:
        try:
            parse(entry.hours)
            named_days(entry.hours)
        except ValueError as error:
            raise CalendarError(f"{head}: {describe(error)}") from None
    if max(len(entry.name), len(entry.name_ur), len(entry.subject)) > MAX_NAME:
        raise CalendarError(f"{head}: has a name of over {MAX_NAME} letters; shorten it")


def confirm(
    conn: sa.Connection, rows: Sequence[CalendarEntry], by: str, now_ms: int, from_ms: int | None = None
) -> list[CalendarEntry]:
    """Lets entries hold that wait. A day of the moon is confirmed by anybody by name, and moved to `from_ms` where it
    came on another day; what needs a second person, by another than who recorded it. Raises CalendarError and
    FactError."""
    pending = [entry for entry in rows if entry.state == "waiting"]
    if not pending:
        raise CalendarError("nothing of this waits; see `nabz-collector calendar list`")
    if not key_of(by):
        raise FactError("a confirmation needs a person by name; give --by NAME")
    for entry in pending:
        if entry.needs_second:
            another(entry.recorded_by, by)
        values: dict[str, object] = {"confirmed_ms": now_ms, "confirmed_by": by}
        if from_ms is not None:
            length_ms = (entry.to_ms or entry.from_ms + DAY_MS) - entry.from_ms
            values |= {"from_ms": from_ms, "to_ms": from_ms + length_ms}
        conn.execute(sa.update(schema.calendar).where(_k.id == entry.id).values(values))
    _note(conn, [entry.id for entry in pending], now_ms)
    return by_ids(conn, [entry.id for entry in pending])


def withdraw(
    conn: sa.Connection, rows: Sequence[CalendarEntry], by: str, why: str, now_ms: int, second: str = ""
) -> list[CalendarEntry]:
    """They hold no more, and never did. What has held already needs two persons. Raises FactError."""
    held = [entry for entry in rows if entry.state != "withdrawn"]
    if any(entry.state == "holds" and entry.from_ms <= now_ms for entry in held):
        another(by, second)
    values = {"withdrawn_ms": now_ms, "withdrawn_by": by, "withdrawn_why": why}
    ids = [entry.id for entry in held]
    conn.execute(sa.update(schema.calendar).where(_k.id.in_(ids)).values(values))
    _note(conn, ids, now_ms)
    return held


def _note(conn: sa.Connection, ids: Sequence[int], now_ms: int) -> None:
    """In the transparency log, and in the journal."""
    leaves.add_changed(conn, "calendar", schema.calendar, ids, now_ms)
    for number in ids:
        journaled(conn, schema.calendar, number)


def _row(entry: CalendarEntry) -> dict[str, object]:
    row = {field.name: getattr(entry, field.name) for field in fields(CalendarEntry) if field.name != "id"}
    return row | {"evidence": msgspec.json.encode(entry.evidence).decode()}


# ---------------------------------------------------------------- the public holidays


def public_holidays(year: int, by: str, now_ms: int) -> list[CalendarEntry]:
    """Entries of one year by the library `holidays`, one a holiday of consecutive days, in the order of their dates."""
    import holidays  # slow to load, and needed once a year

    english = holidays.country_holidays("PK", years=year, language="en_US")
    urdu = holidays.country_holidays("PK", years=year, language="ur_PK")
    days = sorted((day, name) for day, names in english.items() for name in names.split("; "))
    entries: list[CalendarEntry] = []
    for first, last, name in _runs(days):
        is_estimated = ESTIMATED in name or bool(MOON.search(name))
        names_ur = urdu.get(first, "").split("; ")
        position = english[first].split("; ").index(name)
        name_ur = names_ur[position] if position < len(names_ur) else ""
        entries.append(
            CalendarEntry(
                kind="holiday", scope="all", from_ms=begins_ms(first), to_ms=begins_ms(last + timedelta(days=1)),
                name=name.replace(ESTIMATED, ""), name_ur=re.sub(r"\s*\(.*\)$", "", name_ur), is_estimated=is_estimated,
                recorded_ms=now_ms, recorded_by=by, reason="public holiday of Pakistan",
            )
        )  # fmt: skip
    return entries


def _runs(days: list[tuple[date, str]]) -> list[tuple[date, date, str]]:
    """(first day, last day, name) of holidays of one name on consecutive days."""
    runs: list[tuple[date, date, str]] = []
    for name in dict.fromkeys(name for _, name in days):
        for day in (day for day, its in days if its == name):
            if runs and runs[-1][2] == name and runs[-1][1] + timedelta(days=1) == day:
                runs[-1] = (runs[-1][0], day, name)
            else:
                runs.append((day, day, name))
    return sorted(runs)
