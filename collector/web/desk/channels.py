"""The page of channels: how each does, what became of the newest messages, and a test of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from collector.acts import channels as acts
from collector.acts.person import ActingPerson
from collector.desk.alerts import breaker, queue
from collector.desk.routing import directory
from collector.desk.routing.plans import RoutingError
from collector.store import schema
from collector.web import auth, forms
from collector.web.forms import FormMistake
from collector.web.site import Site
from collector.web.view import View

SHOWN, TESTS_SHOWN = 50, 5
UNDER_WAY = ("waiting", "sending")
SOON_MS = 60_000  # a test that is older is not waited for by the page

_al = schema.alerts.c


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/alerts")
    def alerts(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/alerts")
    def test(request: Request, mark: str = Form(""), channel: str = Form(""), person: str = Form("")) -> Response:
        """A message about nothing; the page it goes back to says what became of it."""
        forms.check(request, mark)
        who = ActingPerson(name=auth.asker(request).account.name, now_ms=site.now(), is_proven=True)
        try:
            with site.store.write() as conn:
                acts.send_test(conn, site.channels, channel, person, who)
        except RoutingError as error:
            return _page(site, request, wrong=FormMistake(channel, error.field, error.reason), person=person)
        return RedirectResponse("/alerts#tests", status_code=303)

    return routes


def _page(site: Site, request: Request, *, wrong: FormMistake | None = None, person: str = "") -> Response:
    tests = auth.may(request, "channel.test")
    with site.store.read() as conn:
        rows, channels = _newest(conn), _channels(site, conn)
        newest_tests = _newest(conn, TESTS_SHOWN, "test")
        officers = [one for one in directory.people(conn) if one.role != "contact"] if tests else []
    recent_ms = site.now() - SOON_MS
    waits = any(row["state"] in UNDER_WAY and row["made_ms"] > recent_ms for row in newest_tests)
    return View.of(site, request).page(
        "alerts.html", status=400 if wrong else 200, channels=channels, rows=rows, tests=newest_tests, waits=waits,
        may_test=tests, officers=officers, wrong=wrong, person=person or auth.asker(request).account.key,
        forms=[one["name"] for one in channels if one["is_set"]],
    )  # fmt: skip


def _channels(site: Site, conn: sa.Connection) -> list[dict[str, Any]]:
    """Those of the settings, in their order, then those of earlier settings; each with the state of its breaker."""
    facts = {one.name: one for one in site.channels}
    used = conn.scalars(sa.select(schema.channels.c.channel).order_by(schema.channels.c.channel))
    rows = []
    for name in dict.fromkeys([*facts, *used]):
        known = queue.breaker_of(conn, name)
        address = facts[name].address if name in facts else None
        state = breaker.state_of(known, site.now())
        rows.append({"name": name, "is_set": name in facts, "address": address, "state": state, **vars(known)})
    return rows


def _newest(conn: sa.Connection, most: int = SHOWN, kind: str = "") -> Sequence[sa.RowMapping]:
    columns = (_al.id, _al.channel, _al.title, _al.state, _al.next_ms, _al.made_ms, _al.sent_ms, _al.problem)
    query = sa.select(*columns, _al.person).order_by(_al.id.desc()).limit(most)
    return conn.execute(query.where(_al.kind == kind) if kind else query).mappings().all()
