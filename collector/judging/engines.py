"""Speed engines that disagree: on one line and day the medians of two engines lie far apart, so one of them is wrong.

Gateways run another engine beside that of record on some days (`agent.scheduling.cross_check`). A day is compared once
it is over, and the days before it again, as readings come late; what was found of a day is found once.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import pairwise
from typing import Literal

import sqlalchemy as sa

from agent.common.center_time import CENTER_TIME
from agent.common.reasons import Reason, decode
from agent.wire import ENGINE_OF_RECORD
from collector.judging.place_facts import FoundRow
from collector.store import schema

FINDING = "engines_disagree"
BOUND_PCT = 10.0  # of the larger of the two medians
MIN_TESTS = 3  # of each engine on the day: fewer have no median to speak of
DAYS = 3  # that are compared again
KNOWN_MS = 2 * DAYS * 86_400_000  # findings older than this are of other days
SETTLE_MS = 3_600_000  # after a day's end

Line = tuple[str, str, str]  # center, device, subject
Direction = Literal["down", "up"]
DIRECTIONS: tuple[Direction, ...] = ("down", "up")

_s, _i = schema.readings["speed"].c, schema.integrity.c


@dataclass(frozen=True, kw_only=True)
class EngineResult:
    """One test's goodput, in Mbit/s; None where a direction has none."""

    line: Line
    engine: str
    down: float | None
    up: float | None


@dataclass(frozen=True, kw_only=True)
class EngineDifference:
    """Medians of one line and direction that lie further apart than `BOUND_PCT`, in Mbit/s."""

    line: Line
    direction: Direction
    other: str
    mbps: float
    other_mbps: float

    @property
    def apart_pct(self) -> float:
        larger = max(self.mbps, self.other_mbps)
        return 100.0 * abs(self.mbps - self.other_mbps) / larger if larger > 0 else 0.0


def differences(tests: Iterable[EngineResult]) -> list[EngineDifference]:
    """Pure. What the tests of one day show, each engine held against that of record."""
    values: dict[tuple[Line, Direction], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for test in tests:
        for direction, mbps in zip(DIRECTIONS, (test.down, test.up), strict=True):
            if mbps is not None:
                values[test.line, direction][test.engine].append(mbps)
    result = []
    for (line, direction), engines in sorted(values.items()):
        medians = {name: statistics.median(own) for name, own in sorted(engines.items()) if len(own) >= MIN_TESTS}
        if (record := medians.pop(ENGINE_OF_RECORD, None)) is None:
            continue
        pairs = (
            EngineDifference(line=line, direction=direction, other=other, mbps=record, other_mbps=mbps)
            for other, mbps in medians.items()
        )
        result += [pair for pair in pairs if pair.apart_pct > BOUND_PCT]
    return result


def findings(conn: sa.Connection, now_ms: int) -> list[FoundRow]:
    """Of each line, day and direction that has no finding yet."""
    query = sa.select(_i.center, _i.device, _i.detail).where(_i.finding == FINDING, _i.at_ms > now_ms - KNOWN_MS)
    known = {(row.center, row.device, _key(decode(row.detail))) for row in conn.execute(query)}
    details = [
        (*item.line[:2], _detail(item, day))
        for from_ms, to_ms, day in _days(now_ms)
        for item in differences(_tests(conn, from_ms, to_ms))
    ]
    return [
        (center, device, FINDING, detail)
        for center, device, detail in details
        if (center, device, _key(detail)) not in known
    ]


def _days(now_ms: int) -> list[tuple[int, int, str]]:
    """The last days by the centers' clock that have settled: from, to (milliseconds UTC) and the date."""
    today = datetime.fromtimestamp((now_ms - SETTLE_MS) / 1000, CENTER_TIME).date()
    dates = [today - timedelta(days=number) for number in range(DAYS, -1, -1)]
    edges = [(round(datetime.combine(day, time(), CENTER_TIME).timestamp() * 1000), day.isoformat()) for day in dates]
    return [(from_ms, to_ms, day) for (from_ms, day), (to_ms, _) in pairwise(edges)]


def _tests(conn: sa.Connection, from_ms: int, to_ms: int) -> list[EngineResult]:
    """Of the lines that another engine tested on that day."""
    within = sa.and_(_s.wall_ms >= from_ms, _s.wall_ms < to_ms, _s.failure.is_(None), _s.engine.is_not(None))
    compared = sa.select(_s.center).where(within, _s.engine != ENGINE_OF_RECORD)
    query = sa.select(_s.center, _s.device, _s.subject, _s.engine, _s.download_mbps, _s.upload_mbps)
    rows = conn.execute(query.where(within, _s.purpose != "self-test", _s.center.in_(compared)))
    return [
        EngineResult(
            line=(row.center, row.device, row.subject), engine=row.engine, down=row.download_mbps, up=row.upload_mbps
        )
        for row in rows
    ]


def _detail(item: EngineDifference, day: str) -> Reason:
    return Reason.of(
        "finding.engines",
        day=day,
        subject=item.line[2],
        direction=item.direction,
        engine=ENGINE_OF_RECORD,
        record_mbps=item.mbps,
        other=item.other,
        other_mbps=item.other_mbps,
        apart_pct=round(item.apart_pct, 1),
    )


def _key(detail: Reason) -> tuple[object, ...]:
    return tuple(detail.params.get(name) for name in ("day", "subject", "direction", "other"))
