"""Files of incidents: given by a form or a request, and fetched by whoever sees all of the incident."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from collector.common.attachments import MAX_BYTES
from collector.web import auth, forms
from collector.web.api import reply
from collector.web.errors import Mistaken
from collector.web.incidents import IncidentNumber, attach, file_of, whole
from collector.web.pages.incidents import page_of
from collector.web.site import Site

PATHS = r"(/api/v1)?/incidents/\d+/files"  # whose requests may be longer than others


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.post("/incidents/{number}/files")
    async def give(request: Request, number: IncidentNumber) -> Response:
        async with forms.with_file(request, "file") as (given, file):
            body = await file.read(MAX_BYTES + 1)
        return await run_in_threadpool(_attach, site, request, number, file.filename or "", body, given.get("note", ""))

    @routes.post("/api/v1/incidents/{number}/files")
    async def put(request: Request, number: IncidentNumber, name: str = "", note: str = "") -> Response:
        """The body is the file, whatever its type; answers with the incident as it is then."""
        if not forms.is_of_this_site(request):
            raise Mistaken(403, "request: came from a page of another site")
        account, body = auth.asker(request).account, await request.body()
        done = await run_in_threadpool(attach, site, account, number, name, body, note)
        return reply(await run_in_threadpool(whole, site, account, done.id))

    @routes.get("/incidents/{number}/files/{digest}")
    @routes.get("/api/v1/incidents/{number}/files/{digest}")
    def fetched(request: Request, number: IncidentNumber, digest: str) -> Response:
        one, body = file_of(site, auth.asker(request).account, number, digest)
        return forms.stranger_file(one.name, one.kind, body)

    return routes


def _attach(site: Site, request: Request, number: int, name: str, body: bytes, note: str) -> Response:
    try:
        attach(site, auth.asker(request).account, number, name, body, note)
    except Mistaken as mistake:
        if mistake.status != 409:
            raise
        return page_of(site, request, number, mistake.sentence)
    return RedirectResponse(f"/incidents/{number}#files", status_code=303)
