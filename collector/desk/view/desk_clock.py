"""The desk's clock: how long incidents waited for somebody and for their end, by officer and by district."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import sqlalchemy as sa

from collector.common.scope import EVERYWHERE, Scope
from collector.desk.incident import Act
from collector.store import queries, schema

By = Literal["officer", "district"]
BYS: tuple[By, ...] = get_args(By)
TAKEN: tuple[Act, ...] = ("acknowledged", "assigned", "started", "waiting", "closed")  # by a person: somebody looks
AT_ONCE = 500  # incidents whose events are in memory

_i, _e, _m, _c = schema.incidents.c, schema.incident_events.c, schema.incident_members.c, schema.centers.c


@dataclass(frozen=True, kw_only=True)
class IncidentTimes:
    """Of one incident. `taken_by` is who acted on it first; None: nobody did, or it goes on."""

    opened_ms: int
    taken_ms: int | None
    taken_by: str
    resolved_ms: int | None
    districts: frozenset[str]

    def groups(self, by: By) -> Iterable[str]:
        """An incident of several districts is each one's."""
        return (self.taken_by,) if by == "officer" else self.districts or ("",)


@dataclass(frozen=True, kw_only=True)
class WaitingTimes:
    """Of the incidents of one group, in seconds; medians and what nine in ten stayed under, None of none."""

    group: str
    incidents: int
    taken: int
    take_median_s: int | None
    take_p90_s: int | None
    resolved: int
    resolve_median_s: int | None
    resolve_p90_s: int | None


COLUMNS = tuple(one.name for one in fields(WaitingTimes))


def summed(incidents: Sequence[IncidentTimes], by: By) -> list[WaitingTimes]:
    """Pure. In the order of their names; those that nobody took, or of no district, have the empty one."""
    groups: dict[str, list[IncidentTimes]] = defaultdict(list)
    for one in incidents:
        for group in one.groups(by):
            groups[group].append(one)
    return [total(group, groups[group]) for group in sorted(groups)]


def total(group: str, incidents: Sequence[IncidentTimes]) -> WaitingTimes:
    """Pure. Over all of them, each once."""
    takes = [(one.taken_ms - one.opened_ms) // 1000 for one in incidents if one.taken_ms is not None]
    ends = [(one.resolved_ms - one.opened_ms) // 1000 for one in incidents if one.resolved_ms is not None]
    (take, take_p90), (end, end_p90) = _figures(takes), _figures(ends)
    return WaitingTimes(
        group=group, incidents=len(incidents), taken=len(takes), take_median_s=take, take_p90_s=take_p90,
        resolved=len(ends), resolve_median_s=end, resolve_p90_s=end_p90,
    )  # fmt: skip


def _figures(seconds: Sequence[int]) -> tuple[int | None, int | None]:
    """(median, 90th percentile): the least value that nine in ten do not exceed."""
    if not seconds:
        return None, None
    ordered = sorted(seconds)
    return int(statistics.median_low(ordered)), ordered[-(-9 * len(ordered) // 10) - 1]


# ---------------------------------------------------------------- read


def times(conn: sa.Connection, from_ms: int, to_ms: int, scope: Scope = EVERYWHERE) -> list[IncidentTimes]:
    """Of the incidents that were opened within a time at centers of a scope. One that was merged is its other's."""
    opened = (_i.opened_ms >= from_ms) & (_i.opened_ms < to_ms) & (_i.state != "merged")
    query = sa.select(_i.id, _i.opened_ms, _i.state, _i.resolved_ms).where(opened).order_by(_i.id)
    if not scope.is_all:
        inside = sa.select(_c.center).where(*queries.within(schema.centers, scope))
        query = query.where(_i.id.in_(sa.select(_m.incident).where(_m.center.in_(inside))))
    rows = conn.execute(query).all()
    incidents: list[IncidentTimes] = []
    for first in range(0, len(rows), AT_ONCE):
        some = rows[first : first + AT_ONCE]
        taken, districts = _taken(conn, [row.id for row in some]), _districts(conn, [row.id for row in some], scope)
        incidents += [
            IncidentTimes(
                opened_ms=row.opened_ms, taken_ms=taken.get(row.id, (None, ""))[0],
                taken_by=taken.get(row.id, (None, ""))[1], districts=frozenset(districts[row.id]),
                resolved_ms=row.resolved_ms if row.state in ("resolved", "reviewed") else None,
            )
            for row in some
        ]  # fmt: skip
    return incidents


def _taken(conn: sa.Connection, numbers: Sequence[int]) -> Mapping[int, tuple[int, str]]:
    """When and by whom each was acted on first."""
    mine = _e.incident.in_(numbers) & _e.act.in_(TAKEN) & (_e.person != "")
    query = sa.select(_e.incident, _e.recorded_ms, _e.person).where(mine).order_by(_e.id.desc())
    return {row.incident: (row.recorded_ms, row.person) for row in conn.execute(query)}


def _districts(conn: sa.Connection, numbers: Sequence[int], scope: Scope) -> Mapping[int, set[str]]:
    """Of their centers within a scope."""
    query = sa.select(_m.incident, _c.district).join(schema.centers, _c.center == _m.center)
    by_incident: dict[int, set[str]] = defaultdict(set)
    mine = (_m.incident.in_(numbers), *queries.within(schema.centers, scope))
    for row in conn.execute(query.where(*mine).distinct()):
        by_incident[row.incident].add(row.district)
    return by_incident
