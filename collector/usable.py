"""How many of a center's promised seats could be used in each open hour, and why the others could not.

Usable is what the roll call said was healthy; a seat that was switched off in order stands beside it. An hour without
a roll call is unknown, neither good nor bad. One query of counts, one of the worst roll call of each hour.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from agent import wire
from collector.opening import MINUTE_MS
from collector.store import schema

HOUR_MS = 60 * MINUTE_MS
MOST_REASONS = 8
WORST = 10
ASKED_AT_ONCE = 500  # bound values of one statement


class Call(NamedTuple):
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


def hours(calls: Iterable[Call], open_minutes: Iterable[int]) -> list[Hour]:
    """Pure. Every hour with an open minute, in order; roll calls outside open minutes count for nothing."""
    open_set = set(open_minutes)
    found: dict[int, list[Call]] = {minute * MINUTE_MS // HOUR_MS: [] for minute in sorted(open_set)}
    for call in calls:
        if call.wall_ms // MINUTE_MS in open_set:
            found[call.wall_ms // HOUR_MS].append(call)
    return [_hour(number * HOUR_MS, its) for number, its in found.items()]


def _hour(hour_ms: int, calls: Sequence[Call]) -> Hour:
    if not calls:
        return Hour(hour_ms)
    worst = min(calls, key=lambda call: (call.healthy, call.wall_ms))
    return Hour(
        hour_ms,
        len(calls),
        usable=statistics.median_low(call.healthy for call in calls),
        off=statistics.median_low(call.off for call in calls),
        fewest=worst.healthy,
        fewest_ms=worst.wall_ms,
    )


def reasons(columns: wire.SeatColumns, promised: int) -> list[str]:
    """Pure. Why seats could not be used, by the words of their roll call; the seats never enrolled last."""
    said = [
        f"{name}: {state}{', ' if why else ''}{why}"
        for name, state, why in zip(columns.id, columns.state, columns.why, strict=True)
        if state in ("unhealthy", "missing")
    ]
    never = promised - len(columns.id)
    more = [f"and {len(said) - MOST_REASONS} more"] if len(said) > MOST_REASONS else []
    return said[:MOST_REASONS] + more + ([f"{never} of those promised are not on the roll"] if never > 0 else [])


def book(conn: sa.Connection, code: str, promised: int, open_minutes: set[int]) -> dict[str, Any]:
    """The report's part on seats, as plain values."""
    if not open_minutes:
        return {"promised": promised, "open_hours": 0, "known_hours": 0, "full_hours": 0, "hours": []}
    found = hours(_calls(conn, code, open_minutes), open_minutes)
    known = [hour for hour in found if hour.usable is not None]
    short = [hour.fewest_ms for hour in known if hour.fewest_ms is not None and (hour.fewest or 0) < promised]
    why = _reasons(conn, code, short, promised)
    return {
        "promised": promised,
        "open_hours": len(found),
        "known_hours": len(known),
        "full_hours": sum((hour.fewest or 0) >= promised for hour in known),
        "hours": [_plain(hour, why) for hour in found],
    }


def worst(hours: Sequence[Mapping[str, Any]], promised: int) -> list[Mapping[str, Any]]:
    """The hours with the fewest usable seats, at most WORST, those with all seats left out."""
    short = [hour for hour in hours if hour["usable"] is not None and hour["fewest"] < promised]
    return sorted(short, key=lambda hour: (hour["usable"], hour["fewest"], hour["hour_ms"]))[:WORST]


def _plain(hour: Hour, why: Mapping[int, list[str]]) -> dict[str, Any]:
    return {
        "hour_ms": hour.hour_ms,
        "calls": hour.calls,
        "usable": hour.usable,
        "off": hour.off,
        "fewest": hour.fewest,
        "reasons": why.get(hour.fewest_ms or 0, []),
    }


def _calls(conn: sa.Connection, code: str, open_minutes: set[int]) -> Iterable[Call]:
    table = schema.readings["seats"].c
    from_ms, to_ms = min(open_minutes) * MINUTE_MS, (max(open_minutes) + 1) * MINUTE_MS
    asked = sa.select(table.wall_ms, table.healthy, table.off, table.known).where(
        table.center == code, table.wall_ms >= from_ms, table.wall_ms < to_ms, table.healthy.is_not(None),
    )  # fmt: skip
    rows = conn.execute(asked.order_by(table.wall_ms, table.device, table.spool, table.seq))
    return [Call(row.wall_ms, row.healthy, row.off or 0, row.known or 0) for row in rows]


def _reasons(conn: sa.Connection, code: str, times: Sequence[int], promised: int) -> dict[int, list[str]]:
    table = schema.readings["seats"].c
    found: dict[int, list[str]] = {}
    for first in range(0, len(times), ASKED_AT_ONCE):
        some = times[first : first + ASKED_AT_ONCE]
        asked = sa.select(table.wall_ms, table.seats).where(
            table.center == code, table.wall_ms.in_(some), table.seats.is_not(None)
        )
        for row in conn.execute(asked):
            found[row.wall_ms] = reasons(msgspec.json.decode(row.seats, type=wire.SeatColumns), promised)
    return found
