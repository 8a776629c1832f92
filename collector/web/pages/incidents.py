"""The pages of incidents: the list, and one of them with its forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from collector.common.attachments import MAX_BYTES, PICTURES
from collector.desk.files import MAX_FILES
from collector.desk.incident import OPEN, WAITS
from collector.desk.view import queries
from collector.judging.flags.cause import NAMES
from collector.register import centers
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.incidents import ACTS, IncidentNumber, filter_of, perform, whole
from collector.web.site import Site
from collector.web.view import View

MEMBERS_SHOWN = 100
UNTOUCHED: Mapping[str, str] = dict.fromkeys(("act", "note", "hours", "owner", "party", "into", "centers", "to"), "")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/incidents")
    def incidents(request: Request) -> Response:
        wanted = filter_of(request.query_params)
        scope = auth.asker(request).account.scope
        with site.store.read() as conn:
            rows = queries.listing(conn, site.standards, site.now(), scope=scope, **wanted)
            counts, names = queries.counts(conn, scope), _names(conn, [row for row in rows if row["scope"] == "center"])
        states = {"open": sum(counts[state] for state in OPEN), **counts}
        return View.of(site, request).page("incidents.html", rows=rows, states=states, wanted=wanted, names=names)

    @routes.get("/incidents/{number}")
    def incident(request: Request, number: IncidentNumber) -> Response:
        return page_of(site, request, number)

    @routes.post("/incidents/{number}")
    def act(
        request: Request, number: IncidentNumber, mark: str = Form(""), act: str = Form(""),
        note: str = Form(""), hours: str = Form(""), owner: str = Form(""), party: str = Form(""),
        cause: str = Form(""), into: str = Form(""), centers: str = Form(""), to: str = Form(""),
    ) -> Response:  # fmt: skip
        """One of the acts; goes back to the page, which shows what became of it."""
        forms.check(request, mark)
        values = {
            "act": act, "note": note, "hours": hours, "owner": owner, "party": party, "cause": cause,
            "into": into, "centers": centers, "to": to,
        }  # fmt: skip
        try:
            done = perform(site, auth.asker(request).account, number, values)
        except Mistaken as mistake:
            if mistake.status != 409:
                raise
            return page_of(site, request, number, mistake.sentence, given=values)
        return RedirectResponse(f"/incidents/{done.id}", status_code=303)

    return routes


def page_of(
    site: Site, request: Request, number: IncidentNumber, mistake: str = "", given: Mapping[str, str] = UNTOUCHED
) -> Response:
    """`given` is what was typed before a mistake."""
    facts = whole(site, auth.asker(request).account, number)
    with site.store.read() as conn:
        names = _names(conn, facts["members"] + ([facts] if facts["scope"] == "center" else []))
    return View.of(site, request).page(
        "incident.html", status=409 if mistake else 200, row=facts, names=names, mistake=mistake, acts=ACTS,
        parties=WAITS, causes=NAMES, shown=MEMBERS_SHOWN, given=given, pictures=PICTURES, most_files=MAX_FILES,
        most_mb=MAX_BYTES // 1_000_000,
    )  # fmt: skip


def _names(conn: sa.Connection, rows: list[dict[str, Any]]) -> dict[str, str]:
    codes = {str(row.get("center") or row.get("place")) for row in rows}
    return {code: center.name for code, center in centers.some_centers(conn, codes).items()}
