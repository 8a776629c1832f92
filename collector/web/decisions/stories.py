"""The decision about a second story: a form on the page of its center."""

from __future__ import annotations

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from collector.acts import stories as acts
from collector.acts.person import ActingPerson
from collector.acts.stories import StoryError
from collector.web import auth, forms
from collector.web.api import known_code
from collector.web.errors import Mistaken
from collector.web.site import Site


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.post("/centers/{code}/story")
    def decide(
        request: Request, code: str, mark: str = Form(""), device: str = Form(""), spool: str = Form(""),
        act: str = Form(""), reason: str = Form(""),
    ) -> Response:  # fmt: skip
        """Another process files what is taken: pages write no readings."""
        forms.check(request, mark)
        decision, place = acts.DECISIONS.get(act), known_code(code)
        if decision is None:
            raise Mistaken(400, "form: is not of this page; open the page again and press its button")
        who = ActingPerson(name=auth.asker(request).account.name, now_ms=site.now(), is_proven=True)
        try:
            with site.store.write() as conn:
                if acts.center_of(conn, device, spool) != place:
                    raise StoryError("story.unknown", device, spool)
                acts.decide(conn, device, spool, decision, reason, who)
        except StoryError as error:
            raise Mistaken(400, str(error)) from None
        return RedirectResponse(f"/centers/{place}#stories", status_code=303)

    return routes
