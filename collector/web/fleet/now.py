"""The desk's home: what is open now by its impact, with its cause, owner, next step and telephone; one of them beside
the list, and the same act for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from collector.access import users
from collector.desk.view import contacts, queries
from collector.register import centers
from collector.standard.criteria import EVERYONE
from collector.store import queries as center_queries
from collector.store import schema
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.incidents import perform, whole
from collector.web.site import Site
from collector.web.view import View

Tab = Literal["open", "mine", "free", "failed", "self"]
TABS: tuple[Tab, ...] = get_args(Tab)
BULK = ("ack", "assign", "note", "snooze")  # acts that may be done to many at once
KEYS = ("j", "k", "enter", "x", "a", "s", "c", "n", "esc")
SHOWN = 100
MESSAGES = 50
MEMBERS, EVENTS = 12, 8  # of the panel
MOST_AT_ONCE = 100
SNOOZE_H = "4"
MAX_NOTE = 1000  # letters of a hand-over note

Step = Literal["take", "start", "call", "wait", "work", "rest"]
STEPS: tuple[Step, ...] = get_args(Step)


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/now")
    def now(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/now")
    def act(
        request: Request, mark: str = Form(""), act: str = Form(""), note: str = Form(""), tab: str = Form(""),
        incident: str = Form(""), n: Annotated[list[str] | None, Form()] = None,
    ) -> Response:  # fmt: skip
        """The same act for each incident named; goes back to the list, which shows how many it was done to."""
        forms.check(request, mark)
        if act not in BULK:
            raise Mistaken(400, f"act: is none for many at once; use one of {' '.join(BULK)}")
        numbers = dict.fromkeys(number for text in n or () if (number := _number(text)))
        done, mistake = _do(site, request, act, note, list(numbers)[:MOST_AT_ONCE])
        if mistake:
            return _page(site, request, mistake=mistake, status=409)
        query = {"tab": tab if tab in TABS else "", "incident": incident, "done": str(done) if done else ""}
        address = urlencode({name: value for name, value in query.items() if value})
        return RedirectResponse(f"/now?{address}", status_code=303)

    @routes.post("/now/handover")
    def hand_over(request: Request, mark: str = Form(""), text: str = Form("")) -> Response:
        """The note for whoever comes next; it stands on the page until the next one, an empty one takes it away."""
        forms.check(request, mark)
        note = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:MAX_NOTE]
        with site.store.write() as conn:
            name = auth.asker(request).account.name
            users.record(conn, "handed_over", name, site.now(), is_proven=True, reason=note)
        return RedirectResponse("/now", status_code=303)

    return routes


def _do(site: Site, request: Request, act: str, note: str, numbers: Sequence[int]) -> tuple[int, str]:
    """(how many it was done to, the first reason why not to another)."""
    account, done, mistake = auth.asker(request).account, 0, ""
    if act == "ack" and not note.strip():
        note = str(View.of(site, request).words("now.seen"))
    for number in numbers:
        try:
            perform(site, account, number, {"act": act, "note": note, "hours": SNOOZE_H if act == "snooze" else ""})
            done += 1
        except Mistaken as refused:
            if refused.status not in (404, 409):
                raise
            mistake = mistake or refused.sentence
    return done, mistake


def _page(site: Site, request: Request, mistake: str = "", status: int = 200) -> Response:
    account = auth.asker(request).account
    params = request.query_params
    tab = params.get("tab", "open")
    event = site.hub.last_event
    with site.store.read() as conn:
        every = queries.listing(conn, site.standards, site.now(), scope=account.scope)
        messages = _messages(conn) if auth.may(request, "alerts.read") else []
        findings = [row for row in center_queries.flags_of(conn, EVERYONE) if row["state"] in center_queries.OPEN]
        lists = {"open": every, "mine": [row for row in every if row["owner"] == account.name]}
        lists["free"] = [row for row in every if not row["owner"]]
        rows = lists.get(tab, [] if tab in TABS else every)[:SHOWN]
        names = _names(conn, rows)
        handover = users.newest(conn, "handed_over")
        has_centers = conn.scalar(sa.select(sa.exists().select_from(schema.centers)))
        telephones = contacts.numbers_of_many(conn, {row["id"]: row["family"] for row in rows})
    tabs = {name: len(entries) for name, entries in lists.items()}
    tabs |= {"failed": len(messages)} if auth.may(request, "alerts.read") else {}
    tabs |= {"self": len(findings)}
    return View.of(site, request).page(
        "now.html", status=status, event=event, tab=tab if tab in TABS else "open", tabs=tabs, rows=rows, names=names,
        numbers=telephones, steps={row["id"]: next_step(row, account.name) for row in rows}, messages=messages,
        findings=findings, handover=handover if account.scope.is_all else None,
        keys=KEYS, mistake=mistake, done=_number(params.get("done", "")),
        panel=_panel(site, request), has_centers=has_centers, urgent=sum(not row["is_snoozed"] for row in every),
    )  # fmt: skip


def next_step(row: Mapping[str, Any], reader: str) -> Step:
    """What whoever looks after an incident does next."""
    if row["is_snoozed"]:
        return "rest"
    if row["state"] == "waiting":
        return "wait"
    if not row["owner"]:
        return "take"
    if row["owner"] != reader:
        return "work"
    return "call" if row["state"] == "acknowledged" else "start" if row["state"] == "new" else "work"


def _panel(site: Site, request: Request) -> dict[str, Any] | None:
    """The incident that is shown beside the list: with its centers and what became of it, the newest first."""
    number = _number(request.query_params.get("incident", ""))
    if not number:
        return None
    try:
        facts = whole(site, auth.asker(request).account, number)
    except Mistaken:
        return None
    members = [one for one in facts["members"] if one["left_ms"] is None] or facts["members"]
    codes = list(dict.fromkeys(one["center"] for one in members))
    with site.store.read() as conn:
        names = {code: center.name for code, center in centers.some_centers(conn, codes[:MEMBERS]).items()}
        names |= _names(conn, [facts])
    shown = {"members": codes[:MEMBERS], "more": max(0, len(codes) - MEMBERS), "names": names}
    return facts | shown | {"events": facts["events"][::-1][:EVENTS]}


def _messages(conn: sa.Connection) -> list[sa.RowMapping]:
    """Messages that did not arrive, or may not have, the newest first."""
    al = schema.alerts.c
    columns = (al.id, al.channel, al.title, al.state, al.attempts, al.next_ms, al.sent_ms, al.problem)
    query = sa.select(*columns).where(al.state.in_(("failed", "unsure"))).order_by(al.id.desc()).limit(MESSAGES)
    return list(conn.execute(query).mappings())


def _names(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    codes = [row["place"] for row in rows if row["scope"] == "center"]
    return {code: center.name for code, center in centers.some_centers(conn, codes).items()}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
