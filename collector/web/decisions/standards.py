"""The page of the standard's versions, and the two persons' words that adopt one."""

from __future__ import annotations

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from agent.common.reasons import Reason
from collector.acts import adoption
from collector.acts.adoption import AdoptionError
from collector.acts.person import ActingPerson
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

ACTS = ("propose", "adopt")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/standards")
    def listed(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/standards")
    def decide(
        request: Request, mark: str = Form(""), act: str = Form(""), digest: str = Form(""), reason: str = Form("")
    ) -> Response:
        forms.check(request, mark)
        version = next((one for one in site.standards.versions if one.digest == digest), None)
        if version is None or act not in ACTS:
            raise Mistaken(400, "form: is not of this page; open the page again and press its button")
        who = ActingPerson(name=auth.asker(request).account.name, now_ms=site.now(), is_proven=True)
        try:
            with site.store.write() as conn:
                if act == "propose":
                    adoption.propose(conn, version, reason, who)
                else:
                    adoption.adopt(conn, version, who)
        except AdoptionError as error:
            return _page(site, request, error.reason)
        return RedirectResponse("/standards", status_code=303)

    return routes


def _page(site: Site, request: Request, why: Reason | None = None) -> Response:
    with site.store.read() as conn:
        rows = adoption.states_of(conn, site.standards.versions)
    return View.of(site, request).page(
        "standards.html", status=400 if why else 200, rows=rows, why=why, edits=auth.may(request, "standards.adopt"),
        me=auth.asker(request).account.name,
    )  # fmt: skip
