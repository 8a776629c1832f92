"""The page of maintenance: what is planned and what runs now, a form that plans it, and buttons that end it."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from collector.acts import windows as acts
from collector.acts.person import ActingPerson
from collector.common.groups import SHARED_FACTS
from collector.common.messages import one_line
from collector.desk import windows
from collector.desk.windows import MODES, MaintenanceWindow, WindowError
from collector.register import dated
from collector.web import auth, forms
from collector.web.desk.routing_forms import Given, number_of
from collector.web.errors import Mistaken
from collector.web.forms import FormMistake
from collector.web.site import Site
from collector.web.view import View

# How often it comes again: by name, as a rule of RFC 5545. The last one is written by hand.
AGAIN: Mapping[str, str] = {"once": "", "daily": "FREQ=DAILY", "weekly": "FREQ=WEEKLY", "monthly": "FREQ=MONTHLY"}
BY_RULE = "rule"
EMPTY = dict.fromkeys(("scope", "subject", "mode", "from_time", "to_time", "again", "rule", "reason"), "")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/windows")
    def listed(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/windows")
    async def change(request: Request) -> Response:
        return await run_in_threadpool(_change, site, request, await forms.given(request))

    return routes


def _change(site: Site, request: Request, given: Given) -> Response:
    who = ActingPerson(name=auth.asker(request).account.name, now_ms=site.now(), is_proven=True)
    try:
        with site.store.write() as conn:
            if given.get("act") == "end":
                acts.end(conn, number_of(given), who)
            else:
                acts.plan(conn, _window(given), who)
    except WindowError as error:
        form = "" if given.get("act") == "end" else "window"
        return _page(site, request, FormMistake(form, error.field, error.reason), given)
    return RedirectResponse("/windows", status_code=303)


def _window(given: Given) -> MaintenanceWindow:
    """Raises WindowError, Mistaken."""
    scope = next((one for one in SHARED_FACTS if one == given.get("scope")), None)
    mode = next((one for one in MODES if one == given.get("mode")), None)
    again = given.get("again", "")
    if scope is None or mode is None or (again not in AGAIN and again != BY_RULE):
        raise Mistaken(400, "form: is not of this page; open the page again and press its button")
    rule = given.get("rule", "").strip() if again == BY_RULE else AGAIN[again]
    if again == BY_RULE and not rule:
        raise WindowError("window.bad_rule", "rule", text="")
    subject = one_line(given.get("subject", ""), 200)
    span = _time_ms(given, "from_time"), _time_ms(given, "to_time")
    return MaintenanceWindow(scope, subject, mode, *span, rule, " ".join(given.get("reason", "").split()))


def _time_ms(given: Given, field: str) -> int:
    """Raises WindowError."""
    text = given.get(field, "").strip()
    try:
        return dated.time_ms(text)
    except ValueError:
        raise WindowError("window.bad_time", field, text=text[:40]) from None


def _page(site: Site, request: Request, wrong: FormMistake | None = None, given: Given | None = None) -> Response:
    now_ms = site.now()
    with site.store.read() as conn:
        rows = [(one, one.until_ms(now_ms)) for one in windows.listing(conn) if one.rule or one.to_ms > now_ms]
    return View.of(site, request).page(
        "windows.html", status=400 if wrong else 200, rows=rows, wrong=wrong, values={**EMPTY, **(given or {})},
        scopes=SHARED_FACTS, modes=MODES, again=(*AGAIN, BY_RULE), again_of={rule: name for name, rule in AGAIN.items()},
        edits=auth.may(request, "windows.edit"),
    )  # fmt: skip
