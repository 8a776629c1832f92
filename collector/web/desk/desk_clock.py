"""How long incidents waited for somebody and for their end: by officer, by district, over the last days."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request
from starlette.responses import Response

from collector.common.csv_rows import as_csv
from collector.desk.view import desk_clock
from collector.desk.view.desk_clock import BYS, By, IncidentTimes
from collector.web import auth
from collector.web.site import Site
from collector.web.view import View

DAYS = (7, 30, 90)
DAY_MS = 86_400_000


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    def times(request: Request) -> tuple[By, int, list[IncidentTimes]]:
        """What an address asks for; what it does not know is the usual."""
        params, now_ms = request.query_params, site.now()
        by = next((one for one in BYS if params.get("by") == one), BYS[0])
        days = next((one for one in DAYS if params.get("days") == str(one)), 30)
        with site.store.read() as conn:
            incidents = desk_clock.times(conn, now_ms - days * DAY_MS, now_ms + 1, auth.asker(request).account.scope)
        return by, days, incidents

    @routes.get("/desk-clock")
    def page(request: Request) -> Response:
        by, days, incidents = times(request)
        return View.of(site, request).page(
            "desk_clock.html", by=by, bys=BYS, days=days, spans=DAYS, groups=desk_clock.summed(incidents, by),
            whole=desk_clock.total("", incidents),
        )  # fmt: skip

    @routes.get("/desk-clock.csv")
    def file(request: Request) -> Response:
        by, _, incidents = times(request)
        rows = map(asdict, desk_clock.summed(incidents, by))
        headers = {"content-disposition": f'attachment; filename="desk-clock-{by}.csv"'}
        return Response(as_csv(desk_clock.COLUMNS, rows), media_type="text/csv; charset=utf-8", headers=headers)

    return routes
