"""The log of what people did, as a page with a filter, as CSV and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import get_args

import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import Response

from collector.access import users
from collector.access.accounts import activity
from collector.access.accounts.activity import ActFilter
from collector.common.csv_rows import as_csv
from collector.web.api import reply
from collector.web.site import Site
from collector.web.view import View

PAGE_ROWS, CSV_ROWS = 100, 20_000
ACTS: tuple[users.Act, ...] = get_args(users.Act)
FIELDS = ("person", "act", "center", "from", "to", "before")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/activity")
    def page(request: Request) -> Response:
        rows = _rows(site, request.query_params, PAGE_ROWS + 1)
        values = {name: request.query_params.get(name, "")[:100] for name in FIELDS}
        more = rows[PAGE_ROWS - 1]["id"] if len(rows) > PAGE_ROWS else None
        return View.of(site, request).page(
            "activity.html", rows=rows[:PAGE_ROWS], values=values, acts=ACTS, more=more, query=request.url.query
        )

    @routes.get("/activity.csv")
    def by_csv(request: Request) -> Response:
        text = as_csv(activity.COLUMNS, map(dict, _rows(site, request.query_params, CSV_ROWS)))
        headers = {"content-disposition": 'attachment; filename="activity.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    @routes.get("/api/v1/activity")
    def by_api(request: Request) -> Response:
        rows = _rows(site, request.query_params, PAGE_ROWS)
        return reply({"activity": [{name: row[name] for name in ("id", *activity.COLUMNS)} for row in rows]})

    return routes


def _rows(site: Site, params: Mapping[str, str], limit: int) -> list[sa.RowMapping]:
    wanted = ActFilter(
        person=params.get("person", "")[:100],
        act=params.get("act", "")[:16],
        center=params.get("center", "")[:32],
        from_ms=_day_ms(site, params.get("from", ""), 0),
        to_ms=_day_ms(site, params.get("to", ""), 1),
        before_id=_whole(params.get("before", "")),
    )
    with site.store.read() as conn:
        return activity.page(conn, wanted, limit)


def _day_ms(site: Site, text: str, days: int) -> int | None:
    """The beginning of that day of the programme, or so many days later; None for what is no day."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=site.zone)
        return int((day + timedelta(days=days)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
