"""The page behind a one-time link: what the incident is, and one button that acknowledges it."""

from __future__ import annotations

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from collector.access import users
from collector.alerts import links
from collector.desk import tables
from collector.desk.incident import WorkError
from collector.web import forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

NOTE = "acknowledged by the link of a message"


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/a/{secret}")
    def show(request: Request, secret: str) -> Response:
        """Changes nothing: programs that look at links before people do use nothing up."""
        with site.store.read() as conn:
            link = links.find(conn, secret, site.now())
            incident = tables.get(conn, link.incident) if link else None
        return View.of(site, request).page(
            "link.html", status=200 if link else 404, link=link, incident=incident, done=False, secret=secret[:22]
        )

    @routes.post("/a/{secret}")
    def act(request: Request, secret: str, note: str = Form("")) -> Response:
        if not forms.is_of_this_site(request):
            raise Mistaken(403, "form: came from a page of another site; open the link and press its button")
        now_ms = site.now()
        try:
            with site.store.write() as conn:
                incident = links.acknowledge(conn, secret, note.strip() or NOTE, now_ms)
                users.record(
                    conn,
                    "incident_worked",
                    incident.owner,
                    now_ms,
                    subject=str(incident.id),
                    reason=f"ack by link {note}",
                )
        except WorkError as error:
            raise Mistaken(409, str(error)) from None
        return View.of(site, request).page("link.html", link=None, incident=incident, done=True, secret="")

    return routes
