"""What cannot be answered: a page for people, a sentence in JSON for programs."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from agent.common.logs import Event
from collector.store import UNAVAILABLE
from collector.web.site import Site
from collector.web.view import View

UNAVAILABLE_PAGE = Event(
    __name__, "error", "page_unavailable", "a page cannot be shown, as the database does not answer",
    fields="path error",
)  # fmt: skip


class Mistaken(Exception):
    """A request that cannot be answered: its status and one sentence with the thing, the rule and the fix."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def add(app: FastAPI, site: Site) -> None:
    """Gives the application its answers to everything that goes wrong."""

    def mistaken(request: Request, error: Exception) -> Response:
        assert isinstance(error, Mistaken)
        return answer(site, request, error.status, error.sentence)

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(site, request, error.status_code, f"{request.url.path[:100]}: {error.detail}")

    def away(request: Request, error: Exception) -> Response:
        return unavailable(site, request, error)

    app.add_exception_handler(Mistaken, mistaken)
    app.add_exception_handler(HTTPException, refused)
    for kind in UNAVAILABLE:
        app.add_exception_handler(kind, away)


def unavailable(site: Site, request: Request, error: Exception) -> Response:
    """The answer while the database is away."""
    UNAVAILABLE_PAGE.log(path=request.url.path, error=error)
    return answer(site, request, 503, "the database does not answer; try again in a moment")


def answer(site: Site, request: Request, status: int, sentence: str) -> Response:
    """A page for people, a sentence for programs."""
    if request.url.path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": sentence}, status)
    return View.of(site, request).page("error.html", status=status, code=status)
