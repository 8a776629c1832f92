"""The page of contacts: whom to call about which centers, shown within an account's scope and changed by the desk."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from collector.access import users
from collector.access.accounts import contacts
from collector.access.accounts.contacts import Contact
from collector.access.users import PersonError
from collector.common.scope import PARTS
from collector.web import auth, forms
from collector.web.api import reply
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

STATUS: dict[users.Why, int] = {"out_of_scope": 403, "no_contact": 404}
SAID: tuple[users.Why, ...] = ("bad_contact", "out_of_scope", "no_contact")
ACTS = ("set", "remove")
EMPTY = dict.fromkeys((*contacts.TEXTS, *PARTS, "id"), "")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/contacts")
    def listed(request: Request, edit: str = "") -> Response:
        return _page(site, request, edit)

    @routes.get("/api/v1/contacts")
    def by_api(request: Request) -> Response:
        with site.store.read() as conn:
            rows = contacts.seen_by(conn, auth.asker(request).account)
        return reply({"contacts": [contact.row() for contact in rows]})

    @routes.post("/contacts")
    async def change(request: Request) -> Response:
        given = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        forms.check(request, given.get("mark", ""))
        return await run_in_threadpool(_change, site, request, given)

    return routes


def _change(site: Site, request: Request, given: dict[str, str]) -> Response:
    """Raises Mistaken."""
    account, number = auth.asker(request).account, _number(given.get("id", ""))
    if given.get("act") not in ACTS:
        raise Mistaken(400, "form: is not of this page; open the page again and press its button")
    try:
        with site.store.write() as conn:
            if given["act"] == "remove":
                contacts.remove(conn, number, account, site.now())
            else:
                scope = forms.scope_of(*(given.get(name, "") for name in PARTS))
                contact = dataclasses.replace(contacts.parse(given, scope), id=number)
                contacts.keep(conn, contact, account, site.now())
    except PersonError as refused:
        return _page(site, request, why=refused.reason, given=given)
    return RedirectResponse("/contacts", status_code=303)


def _number(text: str) -> int:
    """The id that a form names; 0 is a new one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _page(
    site: Site, request: Request, edit: str = "", why: users.Why | None = None, given: dict[str, str] | None = None
) -> Response:
    with site.store.read() as conn:
        rows = contacts.seen_by(conn, auth.asker(request).account)
    shown = next((contact for contact in rows if contact.id == _number(edit)), None)
    values = EMPTY | (given if given is not None else _as_form(shown) if shown else {})
    return View.of(site, request).page(
        "contacts.html", status=STATUS.get(why, 400) if why else 200, why=why or "", rows=rows, kinds=contacts.KINDS,
        langs=contacts.LANGS, parts=PARTS, values=values, edits=auth.may(request, "contacts.edit"),
    )  # fmt: skip


def _as_form(contact: Contact) -> dict[str, Any]:
    scope = {name: "; ".join(contact.scope.parts.get(name, ())) for name in PARTS}
    return {**{name: getattr(contact, name) for name in contacts.TEXTS}, **scope, "id": str(contact.id)}
