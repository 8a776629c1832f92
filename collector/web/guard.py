"""What every request passes: nobody gets in without a session, and no answer leaves without its headers."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.web import auth
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


class Guard:
    """Lets nobody in without a session, but for what `auth.is_open` names; sets the headers of every answer."""

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

        allowed = auth.is_open(scope["method"], scope["path"]) or self._admits(Headers(scope=scope))
        answer = self._app if allowed else _refusal(scope)
        await answer(scope, receive, send_with_headers)

    def _admits(self, headers: Headers) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        session = cookies.get(auth.COOKIE)
        return self._site.door.admits(session.value if session else None, self._site.now())


def _harden(headers: MutableHeaders, scope: Scope) -> None:
    for name, value in HEADERS.items():
        headers[name] = value
    if scope["path"].startswith(auth.OPEN_PREFIX):
        kept = b"v=" in scope["query_string"]
        headers["cache-control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
    else:
        headers.setdefault("cache-control", "no-store")
        headers.add_vary_header("cookie")


def _refusal(scope: Scope) -> Response:
    """To the log-in for a person's browser, 401 with a sentence for everything else."""
    path = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
    headers = Headers(scope=scope)
    login = f"/login?next={quote(path, safe='/')}"
    if headers.get("hx-request"):
        return Response(status_code=401)  # a part of a page that stays open: its script asks the reader to log in
    if scope["method"] == "GET" and "text/html" in headers.get("accept", "") and not scope["path"].startswith("/api/"):
        return RedirectResponse(login, status_code=303)
    sentence = "log in first: open the link with the token that the collector printed at its start"
    return JSONResponse({"error": sentence}, status_code=401)
