"""The page of the newest backup and drill, whether they would bring this server back, and of the last night's audit."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from collector.recovery import drill
from collector.reports.audit import nightly
from collector.web.site import Site
from collector.web.view import View

ACTS = ("backup", "drill")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/backups")
    def backups(request: Request) -> Response:
        with site.store.read() as conn:
            newest, night = {act: drill.newest(conn, act) for act in ACTS}, nightly.last(conn)
        return View.of(site, request).page("backups.html", newest=newest, night=night)

    return routes
