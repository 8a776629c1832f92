"""The page of the newest backup and the newest drill: how old, and whether it would bring this server back."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from collector.recovery import drill
from collector.web.site import Site
from collector.web.view import View

ACTS = ("backup", "drill")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/backups")
    def backups(request: Request) -> Response:
        with site.store.read() as conn:
            newest = {act: drill.newest(conn, act) for act in ACTS}
        return View.of(site, request).page("backups.html", newest=newest)

    return routes
