"""The page of routing: who is on duty, which incidents go by which plan, the forms that change it, and a rehearsal of
one incident's messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from collector.acts import routing as acts
from collector.acts.person import ActingPerson
from collector.desk import tables as desk
from collector.desk.incident import WorkError
from collector.desk.routing import directory, tables
from collector.desk.routing.decide import RoutingBook, rehearse
from collector.desk.routing.plans import MAX_STEPS, SHIPPED, RoutingError
from collector.desk.routing.rota import Rota, on_duty, upcoming
from collector.desk.routing.routes import FAMILIES, LANGS
from collector.desk.symptoms import SEVERITIES
from collector.web import auth, forms
from collector.web.desk import routing_forms
from collector.web.desk.routing_forms import EMPTY, MAX_MEMBERS, FormName, Given
from collector.web.errors import Mistaken
from collector.web.forms import FormMistake
from collector.web.site import Site
from collector.web.view import View

TURNS = 3  # shown of each rota
NUMBERED = ("after", "target", "member")  # fields of which a form has several


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/routing")
    def routing(request: Request, incident: str = "") -> Response:
        return _page(site, request, incident)

    @routes.post("/routing")
    async def change(request: Request) -> Response:
        return await run_in_threadpool(_change, site, request, await forms.given(request))

    return routes


# ---------------------------------------------------------------- changes

Change = Callable[[sa.Connection, Given, ActingPerson], object]


def _keep_route(conn: sa.Connection, given: Given, who: ActingPerson) -> None:
    made, families = routing_forms.route_of(given, SEVERITIES)
    acts.keep_route(conn, made, families, who)


def _set_plan(conn: sa.Connection, given: Given, who: ActingPerson) -> None:
    acts.set_plan(conn, given.get("name", "").strip(), routing_forms.steps_of(given), who)


def _keep_rota(conn: sa.Connection, given: Given, who: ActingPerson) -> None:
    made, members = routing_forms.rota_of(given)
    acts.keep_rota(conn, made, members, who)


def _override(conn: sa.Connection, given: Given, who: ActingPerson) -> None:
    span = routing_forms.time_of(given, "from_time"), routing_forms.time_of(given, "to_time")
    person, reason = given.get("person", ""), given.get("reason", "")
    acts.override(conn, routing_forms.number_of({"id": given.get("rota", "")}), person, span, reason, who)


CHANGES: Mapping[str, Change] = {
    "route": _keep_route,
    "plan": _set_plan,
    "rota": _keep_rota,
    "override": _override,
    "remove_route": lambda conn, given, who: acts.remove_route(conn, routing_forms.number_of(given), who),
    "remove_plan": lambda conn, given, who: acts.remove_plan(conn, given.get("name", ""), who),
    "remove_override": lambda conn, given, who: acts.remove_override(conn, routing_forms.number_of(given), who),
    "remove_rota": lambda conn, given, who: acts.remove_rota(conn, routing_forms.number_of(given), who),
}


def _change(site: Site, request: Request, given: Given) -> Response:
    act = given.get("act", "")
    change = CHANGES.get(act)
    if change is None:
        raise Mistaken(400, "form: is not of this page; open the page again and press its button")
    who = ActingPerson(name=auth.asker(request).account.name, now_ms=site.now(), is_proven=True)
    try:
        with site.store.write() as conn:
            change(conn, given, who)
    except RoutingError as error:
        field = f"{error.field}-0" if error.field in NUMBERED else error.field
        return _page(site, request, wrong=FormMistake(act, field, error.reason), given=given)
    return RedirectResponse("/routing", status_code=303)


# ---------------------------------------------------------------- the page


def _page(
    site: Site, request: Request, incident: str = "", wrong: FormMistake | None = None, given: Given | None = None
) -> Response:
    now_ms = site.now()
    with site.store.read() as conn:
        book = directory.book_of(conn, site.board.channels, now_ms)
        rehearsal = _rehearsal(conn, book, incident, now_ms) if incident else None
    values, opened = _forms(book, request.query_params)
    if wrong is not None and given is not None and (form := next((one for one in EMPTY if one == wrong.form), None)):
        values, opened = {**values, form: given}, form
    people = [one for one in book.people.values() if one.role != "contact"]
    return View.of(site, request).page(
        "routing.html", status=400 if wrong else 200, rotas=[_rota(one, book, now_ms) for one in book.rotas],
        routes=book.routes, plans=book.plans, own_plans=_own(book), names={one.key: one.name for one in people},
        officers=[one for one in people if one.role in ("desk", "admin")], rehearsal=rehearsal, incident=incident[:16],
        channels=book.channels, edits=auth.may(request, "routing.edit"), now_ms=now_ms, wrong=wrong,
        values={form: defaultdict(str, given) for form, given in values.items()},
        opened=opened, severities=SEVERITIES, families=FAMILIES, langs=LANGS,
        steps_shown=routing_forms.fields_shown(values["plan"], "after", 3, MAX_STEPS),
        members_shown=routing_forms.fields_shown(values["rota"], "member", 3, MAX_MEMBERS),
    )  # fmt: skip


def _rota(rota: Rota, book: RoutingBook, now_ms: int) -> dict[str, Any]:
    return {
        "rota": rota, "on": on_duty(rota, now_ms, book.days) or "", "turns": upcoming(rota, now_ms, TURNS)[1:],
        "overrides": [item for item in rota.overrides if item.to_ms > now_ms],
    }  # fmt: skip


def _own(book: RoutingBook) -> set[str]:
    """The plans that are not as they were shipped."""
    return {name for name, plan in book.plans.items() if plan is not SHIPPED.get(name)}


def _forms(book: RoutingBook, query: Mapping[str, str]) -> tuple[dict[FormName, Given], FormName | None]:
    """What the forms show, and which one is open: `?route=3`, `?plan=night`, `?rota=1` open it with what is there."""
    values = dict(EMPTY)
    if route := next((one for one in book.routes if str(one.id) == query.get("route")), None):
        return {**values, "route": routing_forms.route_values(route)}, "route"
    if rota := next((one for one in book.rotas if str(one.id) == query.get("rota")), None):
        return {**values, "rota": routing_forms.rota_values(rota)}, "rota"
    if (name := query.get("plan", "")) in book.plans:
        return {**values, "plan": routing_forms.plan_values(name, book.plans[name])}, "plan"
    return values, None


def _rehearsal(conn: sa.Connection, book: RoutingBook, incident: str, now_ms: int) -> list[Any]:
    """Raises Mistaken (404)."""
    try:
        facts = tables.facts_of(conn, desk.get(conn, routing_forms.number_of({"id": incident})), now_ms)
    except WorkError:
        raise Mistaken(404, f"incident {incident[:16]!r}: there is none; see /incidents") from None
    return rehearse(facts, book, now_ms)
