"""Every list as CSV, and flags and messages as JSON: of the centers that an account sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from collector.common.csv_rows import as_csv
from collector.desk.alerts import lists
from collector.desk.view import queries
from collector.register.centers import CODE
from collector.web import auth
from collector.web.api import reply
from collector.web.errors import Mistaken
from collector.web.incidents import filter_of as incident_filter
from collector.web.site import Site

MAX_PAGE = 10_000


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/incidents.csv")
    def incidents_csv(request: Request) -> Response:
        wanted, scope = incident_filter(request.query_params), auth.asker(request).account.scope
        with site.store.read() as conn:
            rows = queries.listing(conn, site.standards, site.now(), scope=scope, **wanted)
        return csv_file("incidents", lists.INCIDENTS, map(lists.flat_incident, rows))

    @routes.get("/flags.csv")
    def flags_csv(request: Request) -> Response:
        return csv_file("flags", lists.FLAGS, _flags(site, request))

    @routes.get("/api/v1/flags")
    def flags(request: Request) -> Response:
        """Those in a state (default: raised), of a center; the ones that changed last first."""
        return reply({"flags": _flags(site, request)})

    @routes.get("/alerts.csv")
    def alerts_csv(request: Request) -> Response:
        return csv_file("alerts", lists.ALERTS, _alerts(site, request.query_params, MAX_PAGE))

    @routes.get("/api/v1/alerts")
    def alerts(request: Request) -> Response:
        """The newest messages, in a state, of a channel, of an incident."""
        return reply({"alerts": _alerts(site, request.query_params, 200)})

    return routes


def csv_file(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(as_csv(columns, rows), media_type="text/csv; charset=utf-8", headers=headers)


def _flags(site: Site, request: Request) -> list[lists.Row]:
    """Raises Mistaken."""
    state = _one_of(request.query_params, "state", "raised", lists.FLAG_STATES)
    center = request.query_params.get("center", "")
    scope = auth.asker(request).account.scope
    with site.store.read() as conn:
        return lists.flags(conn, state=state, center=center if CODE.fullmatch(center) else "", scope=scope)


def _alerts(site: Site, params: Mapping[str, str], limit: int) -> list[lists.Row]:
    """Raises Mistaken."""
    state = _one_of(params, "state", "all", lists.ALERT_STATES)
    incident, channel = params.get("incident", "0"), params.get("channel", "")
    if not (incident.isascii() and incident.isdigit() and len(incident) < 16):
        raise Mistaken(400, f"incident: {incident[:40]!r} is no number; correct it")
    with site.store.read() as conn:
        channel = channel[:64] if channel.isprintable() else ""
        return lists.alerts(conn, state=state, channel=channel, incident=int(incident), limit=limit)


def _one_of(params: Mapping[str, str], name: str, usual: str, known: Sequence[str]) -> str:
    word = params.get(name, usual)
    if word not in known:
        raise Mistaken(400, f"{name}: {word[:40]!r} is none; use one of {' '.join(known)}")
    return word
