"""The admin's page of people: accounts with their roles and scopes, made, changed and ended. A new password is made
here, shown once, and changed by its person."""

from __future__ import annotations

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from collector.access import passwords, users
from collector.access.accounts import directory, oidc, second_factors, sessions
from collector.access.accounts.policy import ROLES, Account
from collector.access.users import PersonError
from collector.common.scope import PARTS, Scope
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

SAID: tuple[users.Why, ...] = ("bad_name", "known", "unknown", "bad_role", "no_scope", "last_admin")
ACTS = ("add", "role", "oidc", "password", "end_sessions", "remove_factor", "remove")
SUB = "sub:"  # begins the issuer's own name for a person; anything else is an e-mail


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/people")
    def people(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/people")
    def change(
        request: Request, mark: str = Form(""), act: str = Form(""), name: str = Form(""), role: str = Form(""),
        owner: str = Form(""), district: str = Form(""), province: str = Form(""), identity: str = Form(""),
    ) -> Response:  # fmt: skip
        forms.check(request, mark)
        if act not in ACTS:
            raise Mistaken(400, "form: is not of this page; open the page again and press its button")
        try:
            made = _change(site, request, act, name, role, forms.scope_of(owner, district, province), identity)
        except PersonError as refused:
            return _page(site, request, name, refused.reason)
        return _page(site, request, name, made=made) if made else RedirectResponse("/people", status_code=303)

    return routes


def _change(site: Site, request: Request, act: str, name: str, role: str, scope: Scope, identity: str) -> str:
    """The new password, where one was made. Raises PersonError."""
    by, now_ms = auth.asker(request).account.name, site.now()
    made = passwords.make() if act in ("add", "password") else ""
    kept = passwords.hash_password(made) if made else ""
    with site.store.write() as conn:
        if act == "add":
            directory.add(conn, name, kept, directory.check(role, scope), scope, by, now_ms, is_proven=True)
            return made
        account = _known(directory.account_of(conn, name), name)
        match act:
            case "role":
                directory.set_role(conn, name, directory.check(role, scope), scope, by, now_ms, is_proven=True)
            case "oidc":
                directory.set_identity(conn, name, _identity(identity), by, now_ms, is_proven=True)
            case "password":
                directory.set_password(conn, name, kept, by, now_ms, is_proven=True)
            case "end_sessions":
                sessions.end_all(conn, account, by, now_ms)
            case "remove_factor":
                second_factors.remove(conn, account, by, now_ms)
            case _:
                directory.remove(conn, name, by, now_ms, is_proven=True)
    return made


def _identity(text: str) -> str:
    text = text.strip()
    return oidc.identity("sub", text.removeprefix(SUB)) if text.startswith(SUB) else oidc.identity("email", text)


def _known(account: Account | None, name: str) -> Account:
    if account is None:
        raise PersonError("unknown", f"person {name[:40]!r}: is not registered")
    return account


def _page(site: Site, request: Request, name: str = "", why: users.Why | None = None, made: str = "") -> Response:
    with site.store.read() as conn:
        rows = [
            (
                person,
                len(sessions.listing(conn, person.account.key, site.now())),
                bool(second_factors.listing(conn, person.account)),
            )
            for person in directory.everybody(conn)
            if person.removed_ms is None
        ]
    return View.of(site, request).page(
        "people.html", status=409 if why else 200, why=why or "", rows=rows, roles=ROLES, parts=PARTS,
        name=name[: users.MAX_NAME], made=made,
    )  # fmt: skip
