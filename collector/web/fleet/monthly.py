"""The months that have been reported: how many centers of each, what is still open, what was revised."""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import Response

from collector.common.scope import Scope
from collector.judging import score
from collector.reports.disputes import records
from collector.reports.disputes.dispute import OPEN
from collector.reports.fleet import summary
from collector.reports.fleet.summary import PARTS, FleetMonth, Part
from collector.reports.monthly import period
from collector.store import queries, schema
from collector.web import auth
from collector.web.site import Site
from collector.web.view import View

MONTHS = 36  # that are listed
LASTS_MS = 60_000
HELD = 3  # sums of a month, of some megabytes each where a nation has reported
PAGE_ROWS = 200
GROUPED_BY = {
    "district": "center.district", "province": "center.province", "provider": "center.isp", "owner": "center.owner",
}  # fmt: skip

_r, _c, _g = schema.reports.c, schema.centers.c, schema.report_recipients.c
_n = schema.report_recipients.alias().c


class FleetMonths:
    """The sums of the months that were asked for last, made at most once a minute for each scope however many ask."""

    def __init__(self, site: Site) -> None:
        self._site, self._lock = site, threading.Lock()
        self._held: dict[tuple[str, Part, str], tuple[int, FleetMonth]] = {}

    def get(self, month: str, by: Part, scope: Scope) -> FleetMonth:
        """Raises ReportError."""
        key, now_ms = (month, by, scope.encode()), self._site.now()
        with self._lock:
            at_ms, fleet = self._held.get(key, (0, None))
            if fleet is None or not 0 <= now_ms - at_ms < LASTS_MS:
                span = period(month, str(self._site.zone), now_ms)
                standard = self._site.standards.at(span.to_ms - 1)
                with self._site.store.read() as conn:
                    fleet = summary.of_month(conn, month, span.from_ms, by, scope, standard)
                self._held = dict([*self._held.items()][1 - HELD :]) | {key: (now_ms, fleet)}
            return fleet


def router(site: Site) -> APIRouter:
    routes, sums = APIRouter(), FleetMonths(site)

    @routes.get("/months")
    def months(request: Request, month: str = "", by: str = "province", group: str = "", page: str = "1") -> Response:
        scope = auth.asker(request).account.scope
        number = int(page) if page.isascii() and page.isdigit() and 0 < len(page) < 6 else 1
        number, from_ms = max(1, number), begin_ms(site, month)
        part: Part = next((one for one in PARTS if one == by), "province")
        with site.store.read() as conn:
            known, disputes = months_of(conn, scope), records.listed(conn, scope, states=OPEN)
        names = {row.from_ms: f"{datetime.fromtimestamp(row.from_ms / 1000, site.zone):%Y-%m}" for row in known}
        name = names.get(from_ms, "") if from_ms is not None else ""
        fleet = sums.get(name, part, scope) if name else None
        reported = {str(row["center"]): row for row in fleet.centers} if fleet else {}
        mine = {code for code, row in reported.items() if row[part] == group} if group else None
        count = next((row.centers for row in known if row.from_ms == from_ms), 0) if mine is None else len(mine)
        with site.store.read() as conn:
            rows = centers_of(conn, scope, from_ms or 0, PAGE_ROWS, (number - 1) * PAGE_ROWS, mine) if fleet else []
            scores = score.of_centers(conn, name, [row["center"] for row in rows]) if rows else {}
        return View.of(site, request).page(
            "months.html", months=known, names=names, chosen=from_ms, rows=rows, number=number, fleet=fleet, by=part,
            group=group, reported=reported, scores=scores, visit_at=score.shipped().visit_at,
            disputes=len(disputes), pages=max(1, -(-count // PAGE_ROWS)), parts_of=GROUPED_BY,
        )  # fmt: skip

    return routes


def begin_ms(site: Site, month: str) -> int | None:
    """When a month such as 2026-03 begins in the programme's zone; None for what is none."""
    try:
        return int(datetime.strptime(month, "%Y-%m").replace(tzinfo=site.zone).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def months_of(conn: sa.Connection, scope: Scope) -> list[sa.Row[tuple[int, int, int, int]]]:
    """(from_ms, centers, open, revised) of each month within a scope, the newest first. `open` waits to be closed,
    `revised` was closed more than once."""
    newest = _newest(scope)
    waits, again = sa.case((newest.c.closed_ms.is_(None), 1), else_=0), sa.case((newest.c.revision > 1, 1), else_=0)
    sums = (sa.func.count().label("centers"), sa.func.sum(waits).label("open"), sa.func.sum(again).label("revised"))
    query = sa.select(newest.c.from_ms, *sums).group_by(newest.c.from_ms).order_by(newest.c.from_ms.desc())
    return list(conn.execute(query.limit(MONTHS)))


def centers_of(
    conn: sa.Connection, scope: Scope, from_ms: int, limit: int, offset: int, codes: Collection[str] | None = None
) -> list[sa.RowMapping]:
    """The newest revision of each center's report of a month, or of these centers': those that are open first, then the
    most revised."""
    newest = _newest(scope, from_ms)
    order = (newest.c.closed_ms.is_not(None), newest.c.revision.desc(), newest.c.center)
    mine = sa.true() if codes is None else newest.c.center.in_(sorted(codes))
    return list(conn.execute(sa.select(newest).where(mine).order_by(*order).limit(limit).offset(offset)).mappings())


def _persons(among: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    """How many were given one of these."""
    count = sa.select(sa.func.count(sa.distinct(_g.person))).where(among)
    return count.correlate(schema.reports).scalar_subquery()


def _newest(scope: Scope, from_ms: int | None = None) -> sa.Subquery:
    last = sa.select(_r.center, _r.from_ms, sa.func.max(_r.revision).label("revision")).group_by(_r.center, _r.from_ms)
    held = (last if from_ms is None else last.where(_r.from_ms == from_ms)).subquery()
    mine = (held.c.center == _r.center) & (held.c.from_ms == _r.from_ms) & (held.c.revision == _r.revision)
    columns = (_r.center, _c.name, _c.city, _c.province, _r.from_ms, _r.revision, _r.closed_ms, _r.sha256)
    same_month = (_g.center == _r.center) & (_g.from_ms == _r.from_ms)
    given = _persons(same_month & (_g.revision == _r.revision)).label("given")
    has_newest = sa.exists().where(
        _n.center == _g.center, _n.from_ms == _g.from_ms, _n.revision == _r.revision, _n.person == _g.person
    )
    older = _persons(same_month & (_g.revision < _r.revision) & ~has_newest).label("older")
    joined = schema.reports.join(held, mine).join(schema.centers, _c.center == _r.center)
    return (
        sa.select(*columns, given, older).select_from(joined).where(*queries.within(schema.centers, scope)).subquery()
    )
