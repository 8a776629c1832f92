"""The pages of visits: lists are published and drawn, and an inspector records what was seen."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from agent.common.reasons import Reason
from agent.common.words import CodedError
from collector.access.accounts import policy
from collector.acts import inspections as acts
from collector.acts.person import ActingPerson
from collector.register import centers
from collector.register.centers import CenterError
from collector.reports.inspections import records, visit_lists
from collector.reports.inspections.records import InspectionError
from collector.standard.form import form_of
from collector.web import auth, forms
from collector.web.api import known_code, reply
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

ITEM = "item."  # before the name of an answer's field


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/visits")
    def listed(request: Request) -> Response:
        return _lists(site, request)

    @routes.get("/visits/{name}")
    def shown(name: str) -> Response:
        """All that is needed to redo the draw, as `visits check` takes it."""
        try:
            with site.store.read() as conn:
                return reply(visit_lists.facts(conn, visit_lists.get(conn, name)))
        except CodedError as error:
            raise Mistaken(404, str(error)) from None

    @routes.post("/visits")
    async def decide(request: Request) -> Response:
        return await run_in_threadpool(_decide, site, request, await forms.given(request))

    @routes.get("/centers/{code}/inspection")
    def form(request: Request, code: str) -> Response:
        return _form(site, request, code, {})

    @routes.post("/centers/{code}/inspection")
    async def record(request: Request, code: str) -> Response:
        return await run_in_threadpool(_record, site, request, code, await forms.given(request))

    return routes


def _who(site: Site, request: Request) -> ActingPerson:
    return ActingPerson(name=auth.asker(request).account.name, now_ms=site.now(), is_proven=True)


def _decide(site: Site, request: Request, given: dict[str, str]) -> Response:
    name, number = given.get("name", "").strip(), given.get("number", "")
    try:
        with site.store.write() as conn:
            if given.get("act") == "draw":
                acts.draw(conn, site.drawing_secret, name, _who(site, request))
            else:
                wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0
                acts.publish(conn, site.drawing_secret, name, wanted, _who(site, request))
    except CodedError as error:
        return _lists(site, request, error.reason)
    return RedirectResponse("/visits", status_code=303)


def _lists(site: Site, request: Request, why: Reason | None = None) -> Response:
    with site.store.read() as conn:
        rows = visit_lists.listed(conn)
        names = centers.some_centers(conn, {code for one in rows for code in one.visits})
        seen = {(one.visit_list, one.center) for one in records.listed(conn) if one.withdrawn_ms is None}
    return View.of(site, request).page(
        "visits.html", status=400 if why else 200, rows=rows, why=why, seen=seen, most=visit_lists.MOST,
        names={code: center.name for code, center in names.items()}, edits=auth.may(request, "visits.draw"),
    )  # fmt: skip


def _record(site: Site, request: Request, code: str, given: dict[str, str]) -> Response:
    try:
        with site.store.write() as conn:
            acts.inspect(
                conn, site.standards, known_code(code), _time_ms(site, given.get("at", "")),
                {name.removeprefix(ITEM): text for name, text in given.items() if name.startswith(ITEM)},
                records.photos_of(given.get("photos", "").splitlines()), _who(site, request),
                remarks=given.get("remarks", ""), visit_list=given.get("list", "").strip(),
            )  # fmt: skip
    except CodedError as error:
        return _form(site, request, code, given, error.reason)
    return RedirectResponse(f"/centers/{code}/inspection", status_code=303)


def _time_ms(site: Site, text: str) -> int:
    """As a form sends it, by the centers' clock. Raises InspectionError."""
    try:
        return round(datetime.fromisoformat(text).replace(tzinfo=site.zone).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InspectionError("inspection.no_time") from None


def _form(site: Site, request: Request, code: str, given: dict[str, str], why: Reason | None = None) -> Response:
    standard = site.standards.at(site.now())
    try:
        with site.store.read() as conn:
            center = centers.get(conn, known_code(code))
            rows = records.listed(conn, center.code)
    except CenterError as error:
        raise Mistaken(404, str(error)) from None
    return View.of(site, request).page(
        "inspection.html", status=400 if why else 200, center=center, items=form_of(standard) if standard else (),
        rows=rows, why=why, given=given, prefix=ITEM, sent_by=request.query_params.get("list", "")[:32],
        edits=policy.allowed(auth.account_of(request), "inspection.record", center),
    )  # fmt: skip
