"""The page of maintenance: what is planned and what runs now, a form that plans it, and buttons that end it; and the
same for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
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
from collector.web.api import reply
from collector.web.desk.routing_forms import Given, number_of
from collector.web.errors import Mistaken
from collector.web.forms import FormMistake
from collector.web.incidents import MAX_NUMBER, decoded
from collector.web.site import Site
from collector.web.view import View

# How often it comes again: by name, as a rule of RFC 5545. The last one is written by hand.
AGAIN: Mapping[str, str] = {"once": "", "daily": "FREQ=DAILY", "weekly": "FREQ=WEEKLY", "monthly": "FREQ=MONTHLY"}
BY_RULE = "rule"
FORM = '{"scope": "feeder", "subject": "NAME", "mode": "mute", "from_time": TIME, "to_time": TIME, "reason": TEXT}'
EMPTY = dict.fromkeys(("scope", "subject", "mode", "from_time", "to_time", "again", "rule", "reason"), "")


class WindowRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request: a window that is planned, or with `end` the number of one that holds no more."""

    scope: str = ""
    subject: str = ""
    mode: str = ""
    from_time: str = ""
    to_time: str = ""
    rule: str = ""
    reason: str = ""
    end: Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)] = 0


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/windows")
    def listed(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/windows")
    async def change(request: Request) -> Response:
        return await run_in_threadpool(_change, site, request, await forms.given(request))

    @routes.get("/api/v1/windows")
    def by_api(_request: Request) -> Response:
        """Those that nobody has ended; `until_ms` of one that runs now."""
        now_ms = site.now()
        with site.store.read() as conn:
            rows = [{**vars(one), "until_ms": one.until_ms(now_ms)} for one in windows.listing(conn)]
        return reply({"windows": rows})

    @routes.post("/api/v1/windows")
    async def change_by_api(request: Request) -> Response:
        """Plans one, or ends one; answers with its number."""
        if not forms.is_of_this_site(request):
            raise Mistaken(403, "request: came from a page of another site")
        return await run_in_threadpool(
            _change_by_api, site, request, decoded(await request.body(), WindowRequest, FORM)
        )

    return routes


def _change_by_api(site: Site, request: Request, wanted: WindowRequest) -> Response:
    given = {name: str(value) for name, value in msgspec.to_builtins(wanted).items()}
    given["again"] = BY_RULE if wanted.rule else "once"
    try:
        with site.store.write() as conn:
            if wanted.end:
                acts.end(conn, wanted.end, _who(site, request))
                return reply({"id": wanted.end})
            return reply({"id": acts.plan(conn, _window(given), _who(site, request))})
    except WindowError as error:
        raise Mistaken(404 if wanted.end else 400, str(error)) from None


def _who(site: Site, request: Request) -> ActingPerson:
    return ActingPerson(name=auth.asker(request).account.name, now_ms=site.now(), is_proven=True)


def _change(site: Site, request: Request, given: Given) -> Response:
    who = _who(site, request)
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
        kinds = f"scope {' '.join(SHARED_FACTS)}, mode {' '.join(MODES)}"
        raise Mistaken(400, f"form: is not of this page; open it again, or send {kinds}")
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
        scopes=SHARED_FACTS, modes=MODES, again=(*AGAIN, BY_RULE),
        again_of={rule: name for name, rule in AGAIN.items()}, edits=auth.may(request, "windows.edit"),
    )  # fmt: skip
