"""The transparency log as static files (C2SP tlog-tiles): anybody may read it, and keep what was read."""

from __future__ import annotations

from fastapi import APIRouter, Response

from collector.log import sequencing
from collector.log.tiles import TileError, TilePath
from collector.web.site import Site

FOR_EVER = "public, max-age=31536000, immutable"
BRIEFLY = "public, max-age=5"


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/log/{path:path}")
    def serve(path: str) -> Response:
        """A head, a tile or a bundle; what the log does not have is not found."""
        if path == "checkpoint":
            with site.store.read() as conn:
                note = sequencing.newest(conn)
            return _text(str(note)) if note else _nothing()
        try:
            wanted = TilePath.parse(path)
        except TileError:
            return _nothing()
        with site.store.read() as conn:
            body = sequencing.served(conn, wanted)
        if body is None:
            return _nothing()
        return Response(body, media_type="application/octet-stream", headers={"cache-control": FOR_EVER})

    return routes


def _text(text: str) -> Response:
    return Response(text, media_type="text/plain; charset=utf-8", headers={"cache-control": BRIEFLY})


def _nothing() -> Response:
    return Response("not found\n", 404, media_type="text/plain; charset=utf-8")
