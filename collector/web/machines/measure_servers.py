"""The door for measurement servers: they join once, and bring what they saw. Each proves its key."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from collector.access.enrolment import EnrolmentRefused
from collector.common.messages import MessageRefused
from collector.desk import follow
from collector.ingest.server_results import take_record
from collector.speedtests import servers
from collector.speedtests.measure.record import MAX_BYTES
from collector.web.api import reply
from collector.web.site import Site

SEAL_BYTES = 128  # the line that a signature adds


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.post("/api/v1/servers/join")
    async def join(request: Request) -> Response:
        body = await _body(request, servers.MAX_REQUEST_BYTES)
        if body is None:
            refused = EnrolmentRefused(413, "enrol.over_limit", limit=servers.MAX_REQUEST_BYTES)
            return reply(refused.body, refused.status)
        return await run_in_threadpool(_join, site, body)

    @routes.post("/api/v1/records")
    async def records(request: Request) -> Response:
        """200 once it is committed: only then may the server forget it."""
        body = await _body(request, MAX_BYTES + SEAL_BYTES)
        if body is None:
            return reply({"error": f"record: the limit is {MAX_BYTES} bytes; this is no record of ours"}, 413)
        return await run_in_threadpool(_take, site, body)

    return routes


def _join(site: Site, body: bytes) -> Response:
    try:
        with site.store.write() as conn:
            return reply(servers.join(conn, body, site.now(), site.facts.collector_key))
    except EnrolmentRefused as refused:
        return reply(refused.body, refused.status)


def _take(site: Site, sealed: bytes) -> Response:
    try:
        with site.store.write() as conn:
            touched = take_record(conn, sealed, site.now(), site.standards)
            follow.follow(conn, site.standards, site.now())
    except MessageRefused as refused:
        return reply({"error": f"{refused.finding}: {refused}", "code": refused.reason.code}, 403)
    if touched:
        site.hub.publish(touched)
    return reply({"taken": True})


async def _body(request: Request, most: int) -> bytes | None:
    """The request's body, read no further than it may be long; None if it is longer."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            return None
    return body
