"""The map: where the centers are and how they do, under the list's filters. It asks nobody outside for anything."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from agent.common.errors import describe
from agent.common.logs import Event
from collector.store import center_states, queries
from collector.web.api import filter_of
from collector.web.errors import Mistaken
from collector.web.fleet import lists
from collector.web.site import Site
from collector.web.view import View

UNUSABLE = Event(
    __name__, "warning", "boundaries_unusable",
    "the map is drawn without its boundaries; correct the file that the settings name",
    fields="file error",
)  # fmt: skip
MAX_BYTES = 16 << 20
_encoder = msgspec.json.Encoder(decimal_format="number")


class Geometry(msgspec.Struct):
    """Of RFC 7946 §3.1, what has lines."""

    type: Literal["Polygon", "MultiPolygon", "LineString", "MultiLineString"]
    coordinates: list[Any]


class Feature(msgspec.Struct, tag_field="type", tag="Feature"):
    geometry: Geometry


class FeatureCollection(msgspec.Struct, tag_field="type", tag="FeatureCollection"):
    features: list[Feature]


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/map")
    def page(request: Request) -> Response:
        wanted, event = filter_of(request), site.hub.last_event
        with site.store.read() as conn:
            counts = center_states.counts(conn, site.ranks(conn), wanted)
            provinces = queries.provinces(conn, wanted.scope)
        return View.of(site, request).page(
            "map.html", wanted=wanted, event=event, counts=counts, states=queries.STATES, provinces=provinces,
            query=lists.view_of(request.url.query), has_boundaries=site.boundaries is not None,
        )  # fmt: skip

    @routes.get("/map.json")
    def points(request: Request) -> Response:
        """Columns of the centers whose place is known, the worst last; `rank` is the place in `states`."""
        with site.store.read() as conn:
            found = center_states.points(conn, site.ranks(conn), filter_of(request))
        names = ("codes", "names", "cities", "lat", "lon", "rank")
        columns = dict(zip(names, zip(*found, strict=True), strict=True)) if found else dict.fromkeys(names, ())
        return unchanged(request, _encoder.encode({"states": queries.STATES, **columns}), "application/json")

    @routes.get("/map/boundaries.json")
    def boundaries(request: Request) -> Response:
        if site.boundaries is None:
            raise Mistaken(404, "boundaries: none are set; name a GeoJSON file by [web] boundaries")
        try:
            body = lines_of(site.boundaries)
        except (OSError, ValueError) as error:
            UNUSABLE.log(file=site.boundaries, error=describe(error))
            raise Mistaken(404, "boundaries: their file cannot be used; see the log") from None
        return unchanged(request, body, "application/geo+json")

    return routes


def lines_of(path: Path) -> bytes:
    """The lines of a GeoJSON file and nothing else of it, as JSON. Raises OSError, ValueError."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name}: is over {MAX_BYTES >> 20} MiB; simplify its lines")
    return msgspec.json.encode(msgspec.json.decode(path.read_bytes(), type=FeatureCollection))


def unchanged(request: Request, body: bytes, kind: str) -> Response:
    """304 for what the browser has already (RFC 9110 §13.1.2), else the body with its tag."""
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)
