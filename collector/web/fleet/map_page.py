"""The map: where the centers are and how they do, under the list's filters. It asks nobody outside for anything."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import Response

from agent.common.errors import describe
from agent.common.logs import Event
from collector.store import center_states, queries, schema
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
LASTS_MS, MOST_BODIES = 60_000, 64
LEVEL = 8  # of gzip
COMPRESSED = {"content-encoding": "gzip", "vary": "accept-encoding"}
_encoder = msgspec.json.Encoder(decimal_format="number")


class Geometry(msgspec.Struct):
    """Of RFC 7946 §3.1, what has lines."""

    type: Literal["Polygon", "MultiPolygon", "LineString", "MultiLineString"]
    coordinates: list[Any]


class Properties(msgspec.Struct):
    disputed: bool = False


class Feature(msgspec.Struct, tag_field="type", tag="Feature"):
    geometry: Geometry
    properties: Properties | None = None


class FeatureCollection(msgspec.Struct, tag_field="type", tag="FeatureCollection"):
    features: list[Feature]


class Body(NamedTuple):
    """JSON, compressed, and what it depends on."""

    version: Hashable
    made_ms: int
    data: bytes
    tag: str


class Bodies:
    """The map's columns for each filter, encoded and compressed once for as long as nothing moves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # many who come at once wait for one body
        self._held: dict[Hashable, Body] = {}

    def get(self, key: Hashable, version: Hashable, now_ms: int, make: Callable[[], bytes]) -> Body:
        with self._lock:
            held = self._held.get(key)
            if held is not None and held.version == version and 0 <= now_ms - held.made_ms < LASTS_MS:
                return held
            data = make()
            if len(self._held) >= MOST_BODIES:
                self._held.clear()
            self._held[key] = Body(version, now_ms, compressed(data), tag_of(data))
            return self._held[key]


def router(site: Site) -> APIRouter:
    routes, bodies = APIRouter(), Bodies()

    @routes.get("/map")
    def page(request: Request) -> Response:
        wanted, event = filter_of(request), site.hub.last_event
        with site.store.read() as conn:
            counts = center_states.counts(conn, site.ranks(conn), wanted)
            provinces = queries.provinces(conn, wanted.scope)
        return View.of(site, request).page(
            "map.html", wanted=wanted, event=event, counts=counts, states=queries.STATES, provinces=provinces,
            query=lists.view_of(request.url.query),
        )  # fmt: skip

    @routes.get("/map.json")
    def points(request: Request) -> Response:
        """Columns of the centers whose place is known, the worst last; `rank` is the place in `states`."""
        wanted, moves = filter_of(request), site.hub.moves  # before the database is read: news since are told anyway
        with site.store.read() as conn:
            ranks, c = site.ranks(conn), schema.centers.c
            register = conn.execute(sa.select(sa.func.max(c.changed_ms), sa.func.count())).one()
            version = (moves, *register, *sorted(ranks.closed))
            question = (wanted.scope, wanted.state, wanted.search, *sorted(wanted.exact.items()))
            body = bodies.get(question, version, site.now(), lambda: columns(center_states.points(conn, ranks, wanted)))
        return _answer(request, body.tag, body.data, "application/json")

    @routes.get("/map/boundaries.json")
    def boundaries(request: Request) -> Response:
        try:
            body = lines_of(site.boundaries)
        except (OSError, ValueError) as error:
            UNUSABLE.log(file=site.boundaries, error=describe(error))
            raise Mistaken(404, "boundaries: their file cannot be used; see the log") from None
        return _answer(request, tag_of(body), compressed(body), "application/geo+json")

    return routes


def columns(points: Sequence[tuple[object, ...]]) -> bytes:
    """As JSON: the states there are, and a column of each figure of these points."""
    names = ("codes", "names", "cities", "lat", "lon", "rank")
    by_name = dict(zip(names, zip(*points, strict=True), strict=True)) if points else dict.fromkeys(names, ())
    return _encoder.encode({"states": queries.STATES, **by_name})


def lines_of(path: Path) -> bytes:
    """The lines of a GeoJSON file and which are disputed, nothing else of it, as JSON. Raises OSError, ValueError."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name}: is over {MAX_BYTES >> 20} MiB; simplify its lines")
    return msgspec.json.encode(msgspec.json.decode(path.read_bytes(), type=FeatureCollection))


def tag_of(body: bytes) -> str:
    return f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'


def compressed(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)


def _answer(request: Request, tag: str, body: bytes, kind: str) -> Response:
    """304 for what the browser has already (RFC 9110 §13.1.2), else the compressed body with its tag."""
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(gzip.decompress(body), media_type=kind, headers=headers)
    return Response(body, media_type=kind, headers=headers | COMPRESSED)
