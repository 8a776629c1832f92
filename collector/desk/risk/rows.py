"""The months at risk as the database has them, for digests, lists and pages. Made once a day by collector.reports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from collector.store import schema

_r = schema.month_risks.c


class MonthRisk(NamedTuple):
    """One criterion of a center, of which the running month falls short if it goes on as in the last days.

    `days_left`: until the month can no longer meet what is asked; 0: it cannot any more. Shares are in percent.
    """

    center: str
    criterion: str
    subject: str
    month_ms: int  # when the month began
    days_left: int
    met_pct: float  # of the samples so far
    recent_pct: float  # of those of the last days
    asked_pct: float


def keep(conn: sa.Connection, by_center: Mapping[str, Sequence[MonthRisk]], now_ms: int) -> None:
    """What is so of these centers now, in place of what was."""
    conn.execute(sa.delete(schema.month_risks).where(_r.center.in_(sorted(by_center))))
    rows = [{**risk._asdict(), "made_ms": now_ms} for risks in by_center.values() for risk in risks]
    if rows:
        conn.execute(sa.insert(schema.month_risks), rows)


def of_centers(conn: sa.Connection, codes: Collection[str]) -> dict[str, list[MonthRisk]]:
    """Of those of these centers that have any, the fewest days left first."""
    mine = sa.select(*(_r[name] for name in MonthRisk._fields)).where(_r.center.in_(sorted(codes)))
    by_center = defaultdict[str, list[MonthRisk]](list)
    for row in conn.execute(mine.order_by(_r.days_left, _r.criterion, _r.subject)):
        by_center[row.center].append(MonthRisk(*row))
    return by_center
