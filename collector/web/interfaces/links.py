"""The page behind a one-time link: what the incident is, and a form to acknowledge, assign, resolve or comment."""

from __future__ import annotations

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from collector.desk import tables
from collector.desk.alerts import links
from collector.desk.alerts.answers import acts
from collector.desk.alerts.answers.acts import ANSWER_ACTS, Answer
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
            "link.html",
            status=200 if link else 404,
            link=link,
            incident=incident,
            done="",
            secret=secret[:22],
            acts=ANSWER_ACTS,
        )

    @routes.post("/a/{secret}")
    def act(
        request: Request, secret: str, note: str = Form(""), act: str = Form("ack"), owner: str = Form("")
    ) -> Response:
        if not forms.is_of_this_site(request):
            raise Mistaken(403, "form: came from a page of another site; open the link and press its button")
        wanted = next((one for one in ANSWER_ACTS if one == act), None)
        if wanted is None:
            raise Mistaken(400, f"act: is none; use one of {' '.join(ANSWER_ACTS)}")
        answer = Answer(wanted, note.strip() or (NOTE if wanted == "ack" else ""), owner.strip())
        try:
            with site.store.write() as conn:
                incident = acts.by_link(conn, secret, answer, site.now())
        except WorkError as error:
            raise Mistaken(409, str(error)) from None
        return View.of(site, request).page("link.html", link=None, incident=incident, done=wanted, secret="")

    return routes
