"""How many of a center's promised seats could be used in each open hour, and why the others could not.

Usable is what the roll call said was healthy; a seat that was switched off in order stands beside it. An hour without
a roll call is unknown, neither good nor bad.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.reading_codes import faults_of
from agent.common.reasons import Reason
from collector.register.opening_hours import MINUTE_MS
from collector.store.cold import held

HOUR_MS = 60 * MINUTE_MS
MOST_REASONS = 8
WORST = 10
ASKED_AT_ONCE = 500  # bound values of one statement


class SeatSample(NamedTuple):
    """One roll call, in counts."""

    wall_ms: int
    healthy: int
    off: int
    known: int


@dataclass(frozen=True)
class Hour:
    """`usable` is the median of the hour's roll calls, `fewest` the least of them, taken at `fewest_ms`."""

    hour_ms: int
    calls: int = 0
    usable: int | None = None
    off: int | None = None
    fewest: int | None = None
    fewest_ms: int | None = None


class Hours:
    """Takes roll calls in the order of their time and keeps those of one hour at once."""

    def __init__(self, open_minutes: Collection[int]) -> None:
        self._open = open_minutes
        self._found = {number: Hour(number * HOUR_MS) for number in _hours_of(open_minutes)}
        self._calls: list[SeatSample] = []

    def add(self, call: SeatSample) -> None:
        """Roll calls outside open minutes count for nothing."""
        if call.wall_ms // MINUTE_MS in self._open:
            if self._calls and self._calls[0].wall_ms // HOUR_MS != call.wall_ms // HOUR_MS:
                self._close()
            self._calls.append(call)

    def all(self) -> list[Hour]:
        """Every hour with an open minute, in order."""
        self._close()
        return list(self._found.values())

    def _close(self) -> None:
        if self._calls:
            number = self._calls[0].wall_ms // HOUR_MS
            self._found[number] = _hour(number * HOUR_MS, self._calls)
            self._calls = []


def hours(calls: Iterable[SeatSample], open_minutes: Collection[int]) -> list[Hour]:
    """Pure. Every hour with an open minute, from roll calls in the order of their time."""
    tally = Hours(open_minutes)
    for call in calls:
        tally.add(call)
    return tally.all()


def _hours_of(open_minutes: Iterable[int]) -> list[int]:
    return sorted({minute * MINUTE_MS // HOUR_MS for minute in open_minutes})


def _hour(hour_ms: int, calls: Sequence[SeatSample]) -> Hour:
    worst = min(calls, key=lambda call: (call.healthy, call.wall_ms))
    return Hour(
        hour_ms,
        len(calls),
        usable=statistics.median_low(call.healthy for call in calls),
        off=statistics.median_low(call.off for call in calls),
        fewest=worst.healthy,
        fewest_ms=worst.wall_ms,
    )


def reasons(columns: wire.SeatColumns, promised: int) -> list[Reason]:
    """Pure. Why seats could not be used, by their roll call; the seats never enrolled last."""
    faults = faults_of(columns)
    causes = [
        _unusable(name, state, faults.get(name, ()))
        for name, state in zip(columns.id, columns.state, strict=True)
        if state in ("unhealthy", "missing")
    ]
    never, hidden = promised - len(columns.id), len(causes) - MOST_REASONS
    more = [Reason.of("seats.more", n=hidden)] if hidden > 0 else []
    return causes[:MOST_REASONS] + more + ([Reason.of("seats.never", n=never)] if never > 0 else [])


def _unusable(name: str, state: str, why: Sequence[Reason]) -> Reason:
    if not why:
        return Reason.of("seats.unusable", seat=name, seat_state=state)
    return Reason.of("seats.unusable_because", seat=name, seat_state=state, why=list(why))


def book(
    conn: sa.Connection, code: str, promised_at: Callable[[int], int], open_hours: Sequence[Hour], promised: int
) -> dict[str, Any]:
    """The report's part on seats, as plain values. `promised` are those of the month's end; an hour in which others
    were promised says how many."""
    known = [hour for hour in open_hours if hour.usable is not None]
    short = [
        hour.fewest_ms
        for hour in known
        if hour.fewest_ms is not None and (hour.fewest or 0) < promised_at(hour.hour_ms)
    ]
    why = _reasons(conn, code, short, promised_at)
    return {
        "promised": promised,
        "open_hours": len(open_hours),
        "known_hours": len(known),
        "full_hours": sum((hour.fewest or 0) >= promised_at(hour.hour_ms) for hour in known),
        "hours": [_plain(hour, why) | _other(promised_at(hour.hour_ms), promised) for hour in open_hours],
    }


def _other(then: int, promised: int) -> dict[str, Any]:
    return {} if then == promised else {"promised": then}


def worst(hours: Sequence[Mapping[str, Any]], promised: int) -> list[Mapping[str, Any]]:
    """The hours with the fewest usable seats, at most WORST, those with all seats left out."""
    short = [hour for hour in hours if hour["usable"] is not None and hour["fewest"] < hour.get("promised", promised)]
    return sorted(short, key=lambda hour: (hour["usable"], hour["fewest"], hour["hour_ms"]))[:WORST]


def _plain(hour: Hour, why: Mapping[int, list[Reason]]) -> dict[str, Any]:
    return {
        "hour_ms": hour.hour_ms,
        "calls": hour.calls,
        "usable": hour.usable,
        "off": hour.off,
        "fewest": hour.fewest,
        "reasons": msgspec.to_builtins(why.get(hour.fewest_ms or 0, [])),
    }


def _reasons(
    conn: sa.Connection, code: str, times: Sequence[int], promised_at: Callable[[int], int]
) -> dict[int, list[Reason]]:
    if not times:
        return {}
    table = held.readings(conn, "seats", [code], min(times), max(times) + 1, ["seats"]).c
    by_time: dict[int, list[Reason]] = {}
    for first in range(0, len(times), ASKED_AT_ONCE):
        some = times[first : first + ASKED_AT_ONCE]
        query = sa.select(table.wall_ms, table.seats).where(
            table.center == code, table.wall_ms.in_(some), table.seats.is_not(None)
        )
        for row in conn.execute(query.order_by(table.wall_ms, table.device, table.spool, table.seq)):
            by_time[row.wall_ms] = reasons(
                msgspec.json.decode(row.seats, type=wire.SeatColumns), promised_at(row.wall_ms)
            )
    return by_time
