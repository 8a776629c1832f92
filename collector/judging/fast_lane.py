"""Tests that are given a better way than the rest: compared with files fetched on the same day, which do not look like
tests, and with the highest rates that the line's own counters show outside of tests.

A busy line makes a slow fetch and a high peak, an idle one a fast fetch: only where both are far below the tests, day
after day, do tests get what others do not. No figure here is official.
"""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from agent.common.center_time import UTC_AHEAD_MS
from agent.common.reasons import Reason
from collector.judging.place_facts import FoundRow
from collector.store import schema

DAY_MS = 86_400_000
MARGIN_MS = 10_000  # around a test in which the line's counters show the test
MAX_STEP_MS = 180_000  # between two looks at the counters that make a rate

FINDINGS = ("fast_lane", "fetch_missed")

_f, _r, _d = schema.fetches.c, schema.records.c, schema.devices.c


@dataclass(frozen=True, kw_only=True)
class LaneRules:
    """A day shows a fast lane where its median test is `ratio` times, and `gap_mbps` more than, the best of its fetches
    and its peak. Of a week's days that can be compared `share`, and at least `days`, must show it. `ordered`: fetches
    of two weeks of which fewer than `made` were made."""

    ratio: float = 2.5
    gap_mbps: float = 4.0
    days: int = 3
    share: float = 0.5
    ordered: int = 9
    made: float = 0.25


RULES = LaneRules()


@dataclass(frozen=True, kw_only=True)
class LaneDay:
    """One day of one center, down the line, in Mbit/s; `peak_mbps` is None where nothing counts the line."""

    tests_mbps: Sequence[float] = ()
    fetches_mbps: Sequence[float] = ()
    peak_mbps: float | None = None

    @property
    def can_be_compared(self) -> bool:
        return bool(self.tests_mbps and self.fetches_mbps)

    @property
    def neutral_mbps(self) -> float:
        """The best that anything but a test got."""
        return max(*self.fetches_mbps, self.peak_mbps or 0.0)


@dataclass(frozen=True, kw_only=True)
class CounterLook:
    """What the line's counter showed at a moment. It starts anew with its machine."""

    at_ms: int
    rx_bytes: int


def peak_mbps(looks: Sequence[CounterLook], tests_ms: Sequence[tuple[int, int]]) -> float | None:
    """The highest rate between two looks in a row outside of tests (from, to)."""
    rates = []
    for before, after in itertools.pairwise(looks):
        step_ms = after.at_ms - before.at_ms
        if not 0 < step_ms <= MAX_STEP_MS or after.rx_bytes < before.rx_bytes:
            continue
        if any(start < after.at_ms + MARGIN_MS and end > before.at_ms - MARGIN_MS for start, end in tests_ms):
            continue
        rates.append((after.rx_bytes - before.rx_bytes) * 8 / 1000 / step_ms)
    return max(rates, default=None)


def lane(days: Iterable[LaneDay], rules: LaneRules = RULES) -> Reason | None:
    """What a week of one center shows."""
    compared = [day for day in days if day.can_be_compared]
    shown = [day for day in compared if _shows(day, rules)]
    if len(shown) < rules.days or len(shown) < rules.share * len(compared):
        return None
    tests = statistics.median(statistics.median(day.tests_mbps) for day in shown)
    others = statistics.median(day.neutral_mbps for day in shown)
    return Reason.of(
        "lane.fast", n=len(shown), whole=len(compared), tests_mbps=round(tests, 1), others_mbps=round(others, 1)
    )


def _shows(day: LaneDay, rules: LaneRules) -> bool:
    test_mbps, other_mbps = statistics.median(day.tests_mbps), day.neutral_mbps
    return test_mbps >= rules.ratio * other_mbps and test_mbps - other_mbps >= rules.gap_mbps


def missed(states: Sequence[str], rules: LaneRules = RULES) -> Reason | None:
    """A gateway that hardly ever fetches what it is told to, though it is heard."""
    ordered, made = sum(state in ("fetched", "missed") for state in states), states.count("fetched")
    if ordered < rules.ordered or made >= rules.made * ordered:
        return None
    return Reason.of("lane.missed", n=ordered - made, whole=ordered)


# ---------------------------------------------------------------- what is stored


def findings(conn: sa.Connection, now_ms: int) -> list[FoundRow]:
    """What this week's fetches show. To be called every hour or so."""
    fetches = _fetches(conn, now_ms - 14 * DAY_MS)
    lanes: list[FoundRow] = []
    for (center, device), rows in sorted(fetches.items()):
        states = [state for _, state, _ in rows]
        week = [(at_ms, mbps) for at_ms, _, mbps in rows if mbps is not None and at_ms > now_ms - 7 * DAY_MS]
        reasons = {"fast_lane": lane(_days(conn, center, device, week)), "fetch_missed": missed(states)}
        lanes += [(center, device, name, reason) for name, reason in reasons.items() if reason is not None]
    return lanes


def _fetches(conn: sa.Connection, from_ms: int) -> Mapping[tuple[str, str], list[tuple[int, str, float | None]]]:
    by_gateway: dict[tuple[str, str], list[tuple[int, str, float | None]]] = defaultdict(list)
    query = sa.select(schema.fetches).join(schema.devices, _d.device == _f.device).where(_d.revoked_ms.is_(None))
    for row in conn.execute(query.where(_f.due_ms > from_ms).order_by(_f.due_ms)):
        by_gateway[row.center, row.device].append((row.fetched_ms or row.due_ms, row.state, row.down_mbps))
    return by_gateway


def _days(conn: sa.Connection, center: str, device: str, week: Sequence[tuple[int, float]]) -> list[LaneDay]:
    """The days of these fetches (when, Mbit/s). The line's counters are read only where tests are the faster ones."""
    by_day: dict[int, list[float]] = defaultdict(list)
    for at_ms, mbps in week:
        by_day[_day(at_ms)].append(mbps)
    days = []
    for day, fetches in sorted(by_day.items()):
        from_ms = day * DAY_MS - UTC_AHEAD_MS
        tests = _tests(conn, device, from_ms)
        seen = LaneDay(tests_mbps=[mbps for _, _, mbps in tests if mbps is not None], fetches_mbps=fetches)
        if seen.can_be_compared and _shows(seen, RULES):
            peak = peak_mbps(_looks(conn, center, device, from_ms), [(start, end) for start, end, _ in tests])
            seen = LaneDay(tests_mbps=seen.tests_mbps, fetches_mbps=fetches, peak_mbps=peak)
        days.append(seen)
    return days


def _day(at_ms: int) -> int:
    return (at_ms + UTC_AHEAD_MS) // DAY_MS


def _tests(conn: sa.Connection, device: str, from_ms: int) -> list[tuple[int, int, float | None]]:
    """When the tests of a day began and were over, and what their server saw of them."""
    query = sa.select(_r.started_ms, _r.down_s, _r.up_s, _r.down_mbps).where(
        _r.started_ms.between(from_ms, from_ms + DAY_MS - 1), _r.device == device, _r.witnessed.is_(True)
    )
    return [
        (row.started_ms, row.started_ms + round((row.down_s + row.up_s) * 1000) + 5_000, row.down_mbps)
        for row in conn.execute(query.order_by(_r.started_ms))
    ]


def _looks(conn: sa.Connection, center: str, device: str, from_ms: int) -> list[CounterLook]:
    table = schema.readings["gateway"].c
    query = sa.select(table.wall_ms, table.wan_rx_bytes).where(
        table.wall_ms.between(from_ms, from_ms + DAY_MS - 1), table.center == center, table.device == device,
        table.wan_rx_bytes.is_not(None),
    )  # fmt: skip
    rows = conn.execute(query.order_by(table.wall_ms))
    return [CounterLook(at_ms=row.wall_ms, rx_bytes=row.wan_rx_bytes) for row in rows]
