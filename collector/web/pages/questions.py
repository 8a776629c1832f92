"""The desk's questions to a center's gateway: a form on its page, where the answers stand."""

from __future__ import annotations

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from collector.access import users
from collector.register.centers import CenterError
from collector.remote import questions
from collector.web import auth, forms
from collector.web.api import known_code
from collector.web.errors import Mistaken
from collector.web.site import Site


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.post("/centers/{code}/question")
    def ask(request: Request, code: str, mark: str = Form(""), kind: str = Form("")) -> Response:
        """Puts a question of the list and goes back to the page, which shows its answer."""
        forms.check(request, mark)
        page, who = f"/centers/{known_code(code)}", auth.asker(request).account.name
        try:
            with site.store.write() as conn:
                questions.ask(conn, code, kind, who, site.now())
                users.record(conn, "question_asked", who, site.now(), is_proven=True, center=code, reason=kind)
        except CenterError as error:
            raise Mistaken(404, str(error)) from None
        except questions.QuestionRefused as error:
            raise Mistaken(409, str(error)) from None
        return RedirectResponse(f"{page}#questions", status_code=303)

    return routes
