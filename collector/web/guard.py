"""What every request passes: nobody gets further than collector.access.accounts.policy lets them, and no answer leaves
without its headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.access.accounts import api_keys, policy, second_factors, sessions
from collector.access.accounts.policy import Match
from collector.store import UNAVAILABLE, schema
from collector.web import auth, errors
from collector.web.auth import Asker
from collector.web.site import Site

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
STATIC = "/static/"
API = "/api/"


class Guard:
    """Lets a request through to what its account may do; sets the headers of every answer."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _harden(MutableHeaders(scope=message), scope)
            await send(message)

        refusal = await self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope) -> Response | None:
        """None for a request that may pass: who asks is in its state then."""
        route = policy.match(scope["method"], scope["path"])
        if route is not None and route.about == "anybody":
            return None
        request = Request(scope)
        try:
            decided = await run_in_threadpool(_decide, self._site, request.headers, route)
        except UNAVAILABLE as error:
            return errors.unavailable(self._site, request, error)
        if decided.asker is not None:
            scope.setdefault("state", {})[auth.STATE] = decided.asker
        if decided.status == 401:
            return _to_log_in(scope)
        if decided.status == 303:
            return RedirectResponse(decided.sentence, status_code=303)
        return errors.answer(self._site, request, decided.status, decided.sentence) if decided.status else None


@dataclass(frozen=True)
class Admission:
    """Who asks, and the status of a refusal with its sentence; status 0 is none, 303 has a path instead."""

    asker: Asker | None
    status: int = 0
    sentence: str = ""


def _decide(site: Site, headers: Headers, route: Match | None) -> Admission:
    """Raises UNAVAILABLE."""
    now_ms = site.now()
    with site.store.read() as conn:
        asker = _asker(conn, headers, now_ms)
        if asker is None or not _is_whole(asker, route):
            return Admission(None, 401)
        if route is None:
            return Admission(asker, 404, "path: is not served here; see the pages, or GET /api/v1/centers")
        if site.requires_second_proof and route.about not in ("own", "half") and _lacks_proof(conn, asker):
            return Admission(asker, 303, "/account#factor")
        center = _place(conn, route.parts["code"]) if route.about == "center" else None
    if route.about == "center" and center is None:
        return Admission(asker, 404, _unregistered(route)) if policy.allowed(asker.account, "centers.list") else DENIED
    if not policy.allowed(asker.account, route.action, center):
        is_hidden = center is not None and not asker.account.scope.includes(center)
        return Admission(asker, 404, _unregistered(route)) if is_hidden else Admission(asker, 403, DENIED.sentence)
    _note_use(site, asker, now_ms)
    return Admission(asker)


def _lacks_proof(conn: sa.Connection, asker: Asker) -> bool:
    """Whether this session's account has to set up a second proof before anything else."""
    is_meant = asker.session is not None and asker.account.role in policy.SECOND_PROOF
    return is_meant and not second_factors.listing(conn, asker.account)


def _note_use(site: Site, asker: Asker, now_ms: int) -> None:
    """Raises UNAVAILABLE."""
    if asker.used_ms is not None and now_ms - asker.used_ms < sessions.SEEN_EVERY_MS:
        return
    with site.store.write() as conn:
        if asker.session is not None:
            sessions.touch(conn, asker.session, now_ms)
        if asker.api_key is not None:
            api_keys.touch(conn, asker.api_key.prefix, now_ms)


DENIED = Admission(None, 403, "account: its role may not do this; ask an admin, or use another account")


def _unregistered(route: Match) -> str:
    """What is outside of a scope is not there."""
    return f"center {route.parts['code'][:40]!r}: is not registered; GET /api/v1/centers lists all"


def _asker(conn: sa.Connection, headers: Headers, now_ms: int) -> Asker | None:
    if bearer := auth.bearer_of(headers):
        key = api_keys.find(conn, bearer, now_ms)
        return Asker(key.account, api_key=key) if key else None
    session = sessions.find(conn, auth.cookie_of(headers), now_ms)
    return Asker(session.account, session) if session else None


def _is_whole(asker: Asker, route: Match | None) -> bool:
    """Whether the second proof has been given, or this is where it is given."""
    return asker.session is None or asker.session.is_full or (route is not None and route.about == "half")


class CenterLocation(NamedTuple):
    """Where a center is: what a scope looks at."""

    owner: str
    district: str
    province: str


def _place(conn: sa.Connection, code: str) -> CenterLocation | None:
    columns = (schema.centers.c[name] for name in CenterLocation._fields)
    row = conn.execute(sa.select(*columns).where(schema.centers.c.center == code)).one_or_none()
    return None if row is None else CenterLocation(*row)


def _harden(headers: MutableHeaders, scope: Scope) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if scope["path"].startswith(STATIC):
        kept = b"v=" in scope["query_string"]
        headers["cache-control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
    else:
        headers.setdefault("cache-control", "no-store")
        headers.add_vary_header("cookie")


def _to_log_in(scope: Scope) -> Response:
    """To the log-in for a person's browser, 401 with a sentence for everything else."""
    path = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
    headers = Headers(scope=scope)
    login = f"/login?next={quote(path, safe='/')}"
    if headers.get("hx-request"):
        return Response(status_code=401)  # a part of a page that stays open: its script asks the reader to log in
    if scope["method"] == "GET" and "text/html" in headers.get("accept", "") and not scope["path"].startswith(API):
        return RedirectResponse(login, status_code=303)
    sentence = "log in first at /login, or send an API key: Authorization: Bearer nabz_…"
    return JSONResponse({"error": sentence}, status_code=401, headers={"www-authenticate": "Bearer"})
