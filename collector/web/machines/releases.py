"""The repository of releases, as any web server would serve it: signed files, which anybody may have."""

from __future__ import annotations

import re
from pathlib import Path

from anyio import to_thread
from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from collector.web.errors import Mistaken
from collector.web.site import Site

# No name begins with a full stop, so no path leaves the folder; what waits for signatures is no gateway's business.
NAME = re.compile(r"(metadata|targets)(/[A-Za-z0-9_][A-Za-z0-9._-]{0,150}){1,2}")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/updates/{path:path}")
    async def file(path: str) -> Response:
        place = site.releases / path if site.releases is not None and NAME.fullmatch(path) else None
        if place is None or not await to_thread.run_sync(_is_file, place):
            raise Mistaken(404, "updates: there is no such file")
        return FileResponse(place, media_type="application/octet-stream", headers={"cache-control": "no-cache"})

    return routes


def _is_file(place: Path) -> bool:
    return place.is_file() and not place.is_symlink()
