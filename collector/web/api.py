"""The API: the register with its states, one center, its series. Gateways have a door of their own, `gateways`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from agent.common.reasons import Reason, decode
from agent.common.words import plain
from collector.access.accounts import api_keys, contacts, sessions
from collector.judging import server_check
from collector.judging.current import Current, LatestReading, current_verdicts, latest_readings
from collector.judging.flags.cause import without_names
from collector.judging.outages import summary
from collector.judging.server_check import TestNetwork
from collector.register.centers import CODE, CenterError, get
from collector.register.providers import asns_of
from collector.store import UNAVAILABLE, center_states, queries, schema
from collector.web import auth
from collector.web.auth import Asker
from collector.web.errors import Mistaken
from collector.web.live import Full
from collector.web.site import Site

MAX_PAGE = 10_000
MAX_POINTS = 2_000
MAX_SPAN_MS = 400 * 86_400_000

_encoder = msgspec.json.Encoder()


def reply(value: object, status: int = 200) -> Response:
    return Response(_encoder.encode(value), status, media_type="application/json")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    _add_health(routes, site)

    @routes.get("/api/v1/centers")
    def centers(request: Request) -> Response:
        wanted = filter_of(request)
        limit = _number(request.query_params, "limit", 200, 1, MAX_PAGE)
        offset = _number(request.query_params, "offset", 0, 0, 10**7)
        with site.store.read() as conn:
            ranks = site.ranks(conn)
            counts, rows = center_states.listed(conn, ranks, wanted, site.now(), limit=limit, offset=offset)
        return reply({"counts": counts, "centers": [_row(row) for row in rows]})

    @routes.get("/api/v1/centers/{code}")
    def center(request: Request, code: str) -> Response:
        return reply(_center(site, code, names_others=auth.asker(request).account.scope.is_all))

    @routes.get("/api/v1/centers/{code}/series")
    def series(code: str, request: Request) -> Response:
        return reply(_series(site, code, request.query_params))

    @routes.get("/api/v1/live")
    async def live(request: Request) -> Response:
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        asker = auth.asker(request)
        try:
            client = site.hub.subscribe(after, asker.account.scope)
        except Full:
            return reply({"error": "too many pages are open; close some and try again"}, 503)
        stream = site.hub.stream(client, site.health.late, partial(_is_as_before, site, asker))
        return StreamingResponse(stream, media_type="text/event-stream")

    return routes


def _is_as_before(site: Site, asker: Asker) -> bool:
    """Whether whoever opened a stream may still read it, and as much as then. A database that is away ends nothing."""
    try:
        with site.store.read() as conn:
            session = sessions.by_id(conn, asker.session.id, site.now()) if asker.session else None
            key = api_keys.by_prefix(conn, asker.api_key.prefix, site.now()) if asker.api_key else None
    except UNAVAILABLE:
        return True
    credential = session or key
    return credential is not None and credential.account == asker.account


def _add_health(routes: APIRouter, site: Site) -> None:
    @routes.get("/healthz")
    async def healthz() -> Response:
        """Parts that have not done their work in time, and since when (seconds). Asks no database: it may hang."""
        late = site.health.late()
        return reply({"ok": not late, "version": site.version, "late": late}, 503 if late else 200)

    @routes.get("/readyz")
    def readyz() -> Response:
        """What is missing before readings can be taken and pages shown."""
        missing = [*site.health.missing(), *([] if _reads(site) else ["database"])]
        return reply({"ready": not missing, "version": site.version, "missing": missing}, 503 if missing else 200)


def _reads(site: Site) -> bool:
    try:
        with site.store.read() as conn:
            return conn.exec_driver_sql("SELECT 1").scalar() == 1
    except UNAVAILABLE:
        return False


def _center(site: Site, code: str, *, names_others: bool) -> dict[str, Any]:
    """Raises Mistaken for a center that is not registered."""
    with site.store.read() as conn:
        row = queries.one(conn, site.ranks(conn), known_code(code))
        if row is None:
            raise Mistaken(404, f"center {code[:40]!r}: is not registered; GET /api/v1/centers lists all")
        registered = get(conn, code)
        newest = latest_readings(conn, code)
        verdicts = current_verdicts(conn, registered, newest, site.standards, site.now())
        network = test_network(site, conn, registered.isp, newest)
        calls = [contact.row() for contact in contacts.of_center(conn, registered)]
        render = told if names_others else _told_without_names
        story = summary.plain(conn, registered, site.standards.at(site.now()), render)
    latest = {
        f"{kind}/{item.subject}".rstrip("/"): msgspec.Raw(item.body.encode())
        for kind, items in newest.items()
        for item in items
    }
    own = {"center": _row(row), "verdicts": [_said(verdict) for verdict in verdicts], "latest": latest}
    own |= {"contacts": calls}
    return own | ({"network": network} if network else {}) | story


def test_network(
    site: Site, conn: sa.Connection, isp: str, latest: Mapping[str, Sequence[LatestReading]]
) -> TestNetwork | None:
    """From whose network the measurement server saw the newest test come."""
    test_id = next((getattr(newest.reading, "test_id", None) for newest in latest.get("speed", ())[:1]), None)
    return server_check.network_of(conn, test_id, asns_of(isp, site.providers)) if test_id else None


def _series(site: Site, code: str, params: Mapping[str, str]) -> dict[str, Any]:
    """Raises Mistaken."""
    kind, fields, span = _series_asked(params, site.now())
    with site.store.read() as conn:
        try:
            get(conn, known_code(code))
        except CenterError as error:
            raise Mistaken(404, str(error)) from None
        subject = params.get("subject")
        from_ms, to_ms, points = span
        columns = queries.series(
            conn, kind, code, from_ms, to_ms, fields, points, None if subject is None else _printable(subject)
        )
    return {"kind": kind, "from_ms": from_ms, "to_ms": to_ms, **columns}


# ---------------------------------------------------------------- reading what is asked


def known_code(code: str) -> str:
    """A code as centers have it. Raises Mistaken for what cannot be one, so that it never reaches the database."""
    if not CODE.fullmatch(code):
        raise Mistaken(404, f"center {code[:40]!r}: is not registered; GET /api/v1/centers lists all")
    return code


def filter_of(request: Request) -> queries.Filter:
    """The filter in an address, within the scope of whoever asks; what it does not know asks for nothing."""
    params = request.query_params
    state, sort = params.get("state", ""), params.get("sort", "worst")
    return queries.Filter(
        state=state if state in queries.STATES else "",
        **{name: _printable(params.get(name, "")) for name in queries.EXACT},
        search=_printable(params.get("q", "")),
        sort=sort if sort in queries.SORTS else "worst",
        scope=auth.asker(request).account.scope,
    )


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:100])


def _number(params: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 17 and least <= int(text) <= most):
        raise Mistaken(400, f"{name}: {text[:40]!r} is not a whole number from {least} to {most}; correct it")
    return int(text)


def _series_asked(params: Mapping[str, str], now_ms: int) -> tuple[str, list[str], tuple[int, int, int]]:
    """(kind, fields, (from, to, points)) of a question for a series. Raises Mistaken."""
    kind = params.get("kind", "")
    if kind not in schema.FIGURES:
        raise Mistaken(400, f"kind: {kind[:40]!r} has no series; ask for one of {' '.join(schema.FIGURES)}")
    known = schema.FIGURES[kind]
    fields = [name for name in params.get("fields", "").split(",") if name] or list(known)
    if unknown := [name for name in fields if name not in known]:
        raise Mistaken(400, f"fields: {unknown[0][:40]!r} is no field of {kind}; ask for {' '.join(known)}")
    to_ms = _number(params, "to", now_ms, 0, 2**53)
    from_ms = _number(params, "from", max(0, to_ms - 86_400_000), 0, 2**53)
    if not 0 < to_ms - from_ms <= MAX_SPAN_MS:
        raise Mistaken(400, "from, to: must be milliseconds with from before to, at most 400 days apart; correct them")
    return kind, list(dict.fromkeys(fields)), (from_ms, to_ms, _number(params, "points", 400, 1, MAX_POINTS))


def _row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of the list, the reason of its worst flag as programs read it."""
    return row if row["reason"] is None else {**row, "reason": told(decode(row["reason"]))}


def told(reason: Reason) -> dict[str, object]:
    """A reason for programs: its code and parameters, and what they say in English."""
    return {"code": reason.code, "params": reason.params, "text": plain().reason(reason)}


def _told_without_names(reason: Reason) -> dict[str, object]:
    return told(without_names(reason))


def _said(current: Current) -> dict[str, Any]:
    verdict = current.verdict
    return {
        "criterion": current.criterion.id,
        "subject": current.subject,
        "verdict": verdict.word,
        "reason": told(verdict.reason),
        "value": verdict.value,
        "bound": verdict.bound,
        "unit": current.criterion.unit,
        "at_ms": current.at_ms,
        "flag": current.flag.state if current.flag else None,
        "flag_since_ms": current.flag.since_ms if current.flag else None,
    }
