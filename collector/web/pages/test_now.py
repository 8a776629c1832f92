"""The desk's button: a test of one center now, and what became of the last one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from agent import wire
from collector.access import users
from collector.register.centers import CenterError
from collector.speedtests import requests
from collector.web import auth, forms
from collector.web.api import known_code
from collector.web.errors import Mistaken
from collector.web.site import Site

ASKED = "test"  # the question of the page's address that holds why there is no test
REASONS = get_args(requests.NoTurn)


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.post("/centers/{code}/test")
    def test(request: Request, code: str, mark: str = Form("")) -> Response:
        """Asks for a test and goes back to the page, which shows what becomes of it."""
        forms.check(request, mark)
        page = f"/centers/{known_code(code)}"
        try:
            with site.store.write() as conn:
                requests.ask_for(conn, code, site.now())
                who = auth.asker(request).account
                users.record(conn, "test_requested", who.name, site.now(), is_proven=True, center=code)
        except CenterError as error:
            raise Mistaken(404, str(error)) from None
        except requests.TestRequestRefused as refused:
            return RedirectResponse(f"{page}?{ASKED}={refused.word}#test-now", status_code=303)
        site.hub.publish({code})
        return RedirectResponse(f"{page}#test-now", status_code=303)

    return routes


def values(conn: sa.Connection, request: Request, code: str) -> Mapping[str, Any]:
    """What the page needs to show the button and the newest test that was asked for."""
    newest = requests.newest(conn, code)
    why_not = request.query_params.get(ASKED, "")
    return {
        "turn": {**newest, "failure": _cause(newest["failure"])} if newest else None,
        "turn_open": newest is not None and newest["state"] in requests.OPEN,
        "why_no_turn": why_not if why_not in REASONS else "",
    }


def _cause(failure: str | None) -> str:
    return msgspec.json.decode(failure, type=wire.Failure).cause if failure else ""
