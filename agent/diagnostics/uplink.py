"""Whether this gateway gets through to its collector: a real session, the receipts, the servers' certificates."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from agent.common import http, tls
from agent.common.causes import UplinkCause
from agent.common.errors import describe
from agent.diagnostics.diagnosis import Diagnosis, Installation
from agent.identity import IdentityError
from agent.uplink import trust
from agent.uplink.causes import UplinkLost, cause_of
from agent.uplink.check import try_session
from agent.uplink.endpoints import format_endpoint
from agent.uplink.keepalive import STEPS_S

PAGE_S = 5.0
MAX_PAGE_BYTES = 4 * 1024 * 1024
QUIET_S = 600.0  # batches go each minute, and each has a receipt

FIXES: Mapping[UplinkCause, str] = {
    "refused": "ask the desk whether this gateway is revoked; if it is not, enrol it again with --force",
    "stranger": "somebody else answers there (a portal, a proxy): let this port out untouched, or ask the desk",
    "clock": "put this machine's clock right: timedatectl set-ntp true",
    "identity": "enrol again with `nabz-agent enrol URL --force`",
    "timeout": "let this port out of the center's network, in both directions",
    "ended": "ask the desk: the broker ends the session by itself",
    "twin": "another machine runs with a copy of this state folder: stop one of the two, enrol it anew with --force",
    "revoked": "ask the desk why; then enrol again with `nabz-agent enrol URL --force`",
    "unknown": "enrol again with `nabz-agent enrol URL --force`: this collector does not know this gateway",
    "expired": "let the collector's enrolment address out of the center's network, where the certificate is renewed",
}
ELSE = "let this port out of the center's network"


def session(here: Installation) -> Iterator[Diagnosis]:
    """What the running agent says of its session; where none runs, a session tried at each broker."""
    if here.mine is None:
        return
    page = page_of(here.settings.agent.status_listen)
    if page is not None:
        yield from running(page, time.time() * 1000)
        return
    for endpoint in here.mine.brokers:
        at = format_endpoint(endpoint)
        try:
            allowed_s = try_session(here.mine, endpoint)
        except (UplinkLost, IdentityError, OSError, ValueError) as error:
            yield Diagnosis(what="session", detail=f"{at}: {describe(error)}", fix=FIXES.get(cause_of(error), ELSE))
        else:
            shorter = f"; it allows a keepalive of {allowed_s} s, which is obeyed" if allowed_s < STEPS_S[0] else ""
            yield Diagnosis(what="session", detail=f"{at} lets this gateway in and hear its receipts{shorter}")


def running(page: Mapping[str, Any], now_ms: float) -> Iterator[Diagnosis]:
    """Pure. By the page of an agent that runs: its session, and whether its batches are receipted."""
    cause, detail = page.get("uplink_cause"), str(page.get("uplink_detail") or "")
    if page.get("uplink") != "connected":
        yield Diagnosis(what="session", detail=f"none: {detail or page.get('uplink')}", fix=FIXES.get(cause, ELSE))  # type: ignore[arg-type]
        return
    yield Diagnosis(what="session", detail="the running agent has one")
    refused, disputed = (page.get(name) or 0 for name in ("messages_refused", "batches_disputed"))
    since_ms = max(page.get("last_receipt_ms") or 0, page.get("started_ms") or 0)
    quiet_s = (now_ms - since_ms) / 1000
    if disputed:
        fix = "another machine sends under this identity, or the spool is an old copy: enrol again with --force"
        yield Diagnosis(what="receipts", detail=f"{disputed} batches are disputed by the collector", fix=fix)
    elif quiet_s > QUIET_S and page.get("spool_readings"):
        sealed = f"; {refused} messages were refused, as no collector of ours sealed them" if refused else ""
        fix = "ask the desk whether its key changed, then enrol again with --force" if refused else "ask the desk"
        yield Diagnosis(what="receipts", detail=f"none for {quiet_s / 60:.0f} min{sealed}", fix=fix)
    else:
        yield Diagnosis(what="receipts", detail="come")


def page_of(status_listen: str) -> dict[str, Any] | None:
    """The status page of a running agent; None where none answers."""
    try:
        answer = http.ask(f"http://{status_listen}/status.json", limit=MAX_PAGE_BYTES, within_s=PAGE_S)
        page = json.loads(answer.body)
    except (OSError, ValueError, RecursionError):
        return None
    return page if isinstance(page, dict) and "uplink" in page else None


def servers(here: Installation) -> Iterator[Diagnosis]:
    """The certificates of the collector's enrolment, where this gateway's is renewed, and of an https test server."""
    if here.mine is not None and here.mine.tls is not None and urlsplit(here.mine.url).scheme == "https":
        try:
            context = trust.context(here.mine.tls.ca, trust.TrustedClock())
        except OSError as error:
            yield Diagnosis(what="collector", detail=describe(error), fix=FIXES["identity"])
        else:
            yield handshake("collector", here.mine.url, context)
    url = here.settings.speed.server or (here.mine.measure_url if here.mine else "")
    if here.settings.speed.enabled and urlsplit(url).scheme in ("https", "wss"):
        try:
            context = tls.client_context(None, least=tls.BROWSERS)
            if here.settings.speed.ca_file:
                context.load_verify_locations(here.settings.speed.ca_file)
        except OSError as error:
            detail = f"{here.settings.speed.ca_file}: {describe(error)}"
            yield Diagnosis(what="test server's certificate", detail=detail, fix="correct [speed] ca_file")
        else:
            yield handshake("test server", url, context)


def handshake(what: str, url: str, context: ssl.SSLContext) -> Diagnosis:
    """Whether the server at the URL shows a certificate that is believed. Named by its cause, where it is refused."""
    import socket

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    name = f"{what}'s certificate"
    try:
        with socket.create_connection((host, port), 10) as made, context.wrap_socket(made, server_hostname=host):
            return Diagnosis(what=name, detail=f"{host}:{port} shows one that is believed")
    except ssl.SSLCertVerificationError as error:
        fix = FIXES["clock" if trust.is_about_time(error) else "stranger"]
        return Diagnosis(what=name, detail=f"{host}:{port}: refused ({describe(error)})", fix=fix)
    except OSError as error:
        return Diagnosis(what=name, detail=f"{host}:{port}: no handshake ({describe(error)})", fix=ELSE)
