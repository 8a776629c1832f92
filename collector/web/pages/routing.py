"""The page of routing: who is on duty, which incidents go by which plan, and a rehearsal of one incident's messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from collector.access import users
from collector.desk import tables as desk
from collector.desk.incident import WorkError
from collector.desk.routing import directory, tables
from collector.desk.routing.decide import rehearse
from collector.desk.routing.plans import RoutingError
from collector.desk.routing.rota import RotaOverride, on_duty, upcoming
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

TURNS = 3  # shown of each rota
MAX_REASON = 200


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/routing")
    def routing(request: Request, incident: str = "") -> Response:
        return _page(site, request, incident)

    @routes.post("/routing")
    def override(
        request: Request, mark: str = Form(""), rota: str = Form(""), person: str = Form(""),
        from_time: str = Form(""), to_time: str = Form(""), reason: str = Form(""),
    ) -> Response:  # fmt: skip
        """Somebody stands in, or nobody is on duty, for a while."""
        forms.check(request, mark)
        account, now_ms = auth.asker(request).account, site.now()
        try:
            with site.store.write() as conn:
                made = RotaOverride(
                    _person(conn, person), _time_ms(site, from_time), _time_ms(site, to_time), _reason(reason)
                )
                number = int(rota) if rota.isascii() and rota.isdigit() and len(rota) < 16 else 0
                tables.add_override(conn, number, made, account.name, now_ms)
                users.record(
                    conn, "routing_changed", account.name, now_ms, is_proven=True, subject=f"rota {number}",
                    reason=f"{made.person or 'nobody'}: {made.reason}",
                )  # fmt: skip
        except RoutingError as error:
            return _page(site, request, mistake=str(error))
        return RedirectResponse("/routing", status_code=303)

    return routes


def _page(site: Site, request: Request, incident: str = "", mistake: str = "") -> Response:
    now_ms = site.now()
    with site.store.read() as conn:
        book = directory.book_of(conn, site.board.channels, now_ms)
        rehearsal = _rehearsal(conn, book, incident, now_ms) if incident else None
    rotas = [
        {"rota": one, "on": on_duty(one, now_ms, book.days) or "", "turns": upcoming(one, now_ms, TURNS)[1:],
         "overrides": [item for item in one.overrides if item.to_ms > now_ms]}
        for one in book.rotas
    ]  # fmt: skip
    names = {key: person.name for key, person in book.people.items()}
    people = [one for one in book.people.values() if one.role in ("desk", "admin")]
    return View.of(site, request).page(
        "routing.html", status=400 if mistake else 200, rotas=rotas, routes=book.routes, plans=book.plans, names=names,
        people=people, rehearsal=rehearsal, incident=incident[:16], mistake=mistake, channels=book.channels,
        edits=auth.may(request, "routing.edit"), now_ms=now_ms,
    )  # fmt: skip


def _rehearsal(conn: sa.Connection, book: Any, incident: str, now_ms: int) -> list[Any]:
    """Raises Mistaken (404)."""
    try:
        number = int(incident) if incident.isascii() and incident.isdigit() and len(incident) < 16 else 0
        facts = tables.facts_of(conn, desk.get(conn, number), now_ms)
    except WorkError:
        raise Mistaken(404, f"incident {incident[:16]!r}: there is none; see /incidents") from None
    return rehearse(facts, book, now_ms)


def _person(conn: sa.Connection, name: str) -> str:
    """The key; empty for nobody. Raises RoutingError."""
    if name and name not in {one.key for one in directory.people(conn)}:
        raise RoutingError(f"person {name[:40]!r}: has no account; choose one of the list")
    return name


def _time_ms(site: Site, text: str) -> int:
    """Of a form's date and time, in Pakistan. Raises RoutingError."""
    try:
        at = datetime.fromisoformat(text[:32])
    except ValueError:
        raise RoutingError(f"time {text[:40]!r}: must be such as 2026-12-01T20:00; correct it") from None
    return int((at if at.tzinfo else at.replace(tzinfo=site.zone)).timestamp()) * 1000


def _reason(text: str) -> str:
    """Raises RoutingError."""
    reason = "".join(letter if letter.isprintable() else " " for letter in text).strip()[:MAX_REASON]
    if not reason:
        raise RoutingError("override: needs a reason; say why the turn changes")
    return reason
