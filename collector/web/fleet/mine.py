"""The operator's home, for Urdu and a telephone: is it up to the standard, what to fix first, what spoils the month."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import Response

from collector.access.accounts import contacts
from collector.desk import causes
from collector.desk.risk import rows as month_risks
from collector.judging.current import latest_readings
from collector.register.centers import CODE, get
from collector.store import center_states, queries, schema
from collector.store.queries import Filter
from collector.web import auth
from collector.web.site import HERE, Site
from collector.web.view import View

SHOWN = 50  # centers of one operator
FIRST = 3  # things to fix that are named
FEW = 6  # centers whose names stand above the answer; more are behind a word
KINDS = ("link", "speed", "ups", "seats")  # readings that are shown
FINE = ("meets", "closed")
DARK = ("silent", "waiting", "unknown", "paused")


class MonthSoFar(NamedTuple):
    """What has spoiled the running month: how often each criterion was missed; and the days that are left."""

    spoilt: list[tuple[str, int]]
    days_left: int


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/mine")
    def mine(request: Request, center: str = "") -> Response:
        scope, now_ms, event = auth.asker(request).account.scope, site.now(), site.hub.last_event
        with site.store.read() as conn:
            ranks = site.ranks(conn)
            rows = center_states.page(conn, ranks, Filter(scope=scope), now_ms, limit=SHOWN)
            chosen = [row for row in rows if row["center"] == center and CODE.fullmatch(center)] or rows
            values = _values(site, conn, chosen[0], ranks) if chosen else {}
        return View.of(site, request, first="ur").page(
            "mine.html", event=event, rows=rows, row=chosen[0] if chosen else None, fine=FINE, dark=DARK, few=FEW,
            **values,
        )  # fmt: skip

    @routes.get("/worker.js")
    def worker() -> Response:
        """The script that keeps the page for when there is no connection; from here it may, from /static not."""
        path = HERE / "static" / "worker.js"
        return Response(path.read_bytes(), media_type="text/javascript", headers={"cache-control": "no-cache"})

    return routes


def _values(site: Site, conn: sa.Connection, row: dict[str, Any], ranks: queries.Ranks) -> dict[str, Any]:
    code, now_ms = row["center"], site.now()
    _, flags = queries.open_flags_of(conn, code, limit=SHOWN)
    is_dark = row["state"] == "silent"
    known = [flag for flag in flags if not is_dark or flag["criterion"] in ranks.silence]
    weights = ranks.severity
    first = sorted(known, key=lambda flag: (flag["criterion"] not in ranks.silence, -weights.get(flag["criterion"], 0)))
    latest = latest_readings(conn, code)
    return {
        "first": first[:FIRST],
        "more": max(0, len(first) - FIRST),
        "likely": causes.of_center(conn, code, now_ms) if is_dark else None,
        "desk": site.desk_telephone,
        "contacts": contacts.of_center(conn, get(conn, code)),
        "latest": {kind: latest[kind][0] for kind in KINDS if kind in latest},
        "risks": month_risks.of_centers(conn, [code]).get(code, ()),
        "month": month_of(conn, code, datetime.fromtimestamp(now_ms / 1000, site.zone)),
    }


def month_of(conn: sa.Connection, code: str, local: datetime) -> MonthSoFar:
    """The running month of a center; `local` is now in the programme's zone."""
    begins = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    ends = begins.replace(year=begins.year + begins.month // 12, month=begins.month % 12 + 1)
    c, times = schema.changes.c, sa.func.count()
    mine = (c.center == code) & (c.now == "raised") & (c.at_ms >= int(begins.timestamp() * 1000))
    rows = conn.execute(sa.select(c.criterion, times).where(mine).group_by(c.criterion).order_by(times.desc()).limit(5))
    return MonthSoFar([(str(row[0]), int(row[1])) for row in rows], (ends.date() - local.date()).days)
