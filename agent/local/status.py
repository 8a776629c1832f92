"""The gateway's local page: what was last measured, what last failed, what waits to be sent. Works with no network.

`Board` collects readings as they are taken; `StatusView` is all the page shows; `serve` shows it at ``/`` (for
people, in every language of the catalogue, no script) and at ``/status.json`` and ``/metrics`` (for programs).
"""

from __future__ import annotations

import asyncio
import ipaddress
import urllib.parse
from collections.abc import Callable

import msgspec

from agent.common.tcp.http_server import HttpRefused
from agent.local import http
from agent.local.board import StatusView

LIMITS = http.HttpLimits(body_bytes=0, connections=16, connections_per_address=16)


async def serve(address: str, view: Callable[[], StatusView]) -> asyncio.Server:
    """Shows ``view()`` at ``HOST:PORT``. Raises ValueError for an address that is none, OSError when it is taken."""

    async def answer(request: http.HttpRequest) -> http.HttpAnswer:
        return respond(request, view)

    return await http.serve(address, answer, LIMITS)


def respond(request: http.HttpRequest, view: Callable[[], StatusView]) -> http.HttpAnswer:
    """The page requested. Raises HttpRefused."""
    if request.method != "GET":
        raise HttpRefused(405, "this page is only read: GET")
    if not is_local_name(request.headers.get("host", "")):
        raise HttpRefused(403, "use the address, not a name: a foreign site's name must not open this page")
    path, _, query = request.path.partition("?")
    if path == "/status.json":
        return http.HttpAnswer(status=200, body=msgspec.json.encode(view(), enc_hook=list))
    if path == "/metrics":
        from agent.local import metrics

        return http.HttpAnswer(status=200, body=metrics.text_of(view()).encode(), kind=metrics.CONTENT_TYPE)
    if path == "/":
        from agent.common.words import languages  # words and styles cost memory only once somebody looks
        from agent.local.status_page import page

        known = languages()
        wanted = urllib.parse.parse_qs(query).get("lang", [""])[0]
        language = wanted if wanted in known else next(iter(known))
        return http.HttpAnswer(status=200, body=page(view(), language, known).encode(), kind=http.HTML)
    raise HttpRefused(404, "there is only /, /status.json and /metrics")


def is_local_name(host: str) -> bool:
    """True for an address or ``localhost``: any other name may be a web site's that was re-pointed here (rebinding)."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    try:
        return name == "localhost" or bool(ipaddress.ip_address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        return False
