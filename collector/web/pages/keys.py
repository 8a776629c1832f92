"""The admin's page of API keys: what programs may ask in whose name, until when, and when they last did."""

from __future__ import annotations

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from collector.access import users
from collector.access.accounts import api_keys, directory
from collector.access.accounts.policy import ROLES
from collector.access.users import PersonError
from collector.common.scope import PARTS, Scope, decode
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

SAID: tuple[users.Why, ...] = ("bad_name", "bad_role", "no_scope", "no_key")
KEY_ROLES = tuple(role for role in ROLES if role != "admin")
DAYS = 90


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/keys")
    def keys(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/keys")
    def change(
        request: Request, mark: str = Form(""), act: str = Form(""), name: str = Form(""), role: str = Form(""),
        days: str = Form(str(DAYS)), owner: str = Form(""), district: str = Form(""), province: str = Form(""),
        prefix: str = Form(""),
    ) -> Response:  # fmt: skip
        forms.check(request, mark)
        by = auth.asker(request).account.name
        try:
            if act == "add":
                scope = forms.scope_of(owner, district, province)
                return _page(site, request, made=_add(site, name, role, scope, days, by))
            if act != "revoke":
                raise Mistaken(400, "form: is not of this page; open the page again and press its button")
            with site.store.write() as conn:
                api_keys.revoke(conn, prefix, by, site.now(), is_proven=True)
        except PersonError as refused:
            return _page(site, request, refused.reason)
        return RedirectResponse("/keys", status_code=303)

    return routes


def _add(site: Site, name: str, role: str, scope: Scope, days: str, by: str) -> str:
    """The new key. Raises PersonError."""
    lasts_days = int(days) if days.isascii() and days.isdigit() and len(days) < 5 else 0
    with site.store.write() as conn:
        return api_keys.add(conn, name, directory.check(role, scope), scope, lasts_days, by, site.now(), is_proven=True)


def _page(site: Site, request: Request, why: users.Why | None = None, made: str = "") -> Response:
    with site.store.read() as conn:
        rows = api_keys.listing(conn)
    now_ms = site.now()
    for row in rows:
        row["scope"] = decode(str(row["scope"])).parts
        row["in_use"] = row["revoked_ms"] is None and int(str(row["expires_ms"])) > now_ms
    return View.of(site, request).page(
        "keys.html", status=409 if why else 200, why=why or "", rows=rows, roles=KEY_ROLES, parts=PARTS, days=DAYS,
        made=made,
    )  # fmt: skip
