"""The log-in: the first admin by the one-time link, a name with its password, the second proof, and the way out."""

from __future__ import annotations

from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from collector.access import passwords, users
from collector.access.accounts import directory, passkeys, second_factors, sessions
from collector.access.accounts.policy import Account
from collector.access.users import PersonError
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View, home

STATUS: dict[users.Why, int] = {"too_many": 429, "busy": 503, "oidc_away": 503}
SAID: tuple[users.Why, ...] = (
    "bad_name", "weak", "wrong", "wrong_code", "too_many", "busy", "no_link", "no_token", "oidc_away", "oidc_refused",
    "oidc_unknown",
)  # fmt: skip
HALF_S, FULL_S = sessions.HALF_LASTS_MS // 1000, max(sessions.LASTS_MS.values()) // 1000

OUT = "/login/oidc/out"  # where a browser goes that an issuer may have let in

FORGOTTEN = {"clear-site-data": '"storage"'}  # the page that was kept for when there is no connection


def router(site: Site) -> APIRouter:
    routes = APIRouter()
    _first_proofs(routes, site)
    _second_proofs(routes, site)

    @routes.post("/logout")
    def logout(request: Request, mark: str = Form("")) -> Response:
        forms.check(request, mark)
        _log_out(site, request)
        answer = RedirectResponse(OUT if site.oidc else "/login", status_code=303, headers=FORGOTTEN)
        answer.delete_cookie(auth.COOKIE)
        return answer

    return routes


def _first_proofs(routes: APIRouter, site: Site) -> None:
    """A name and a password, or the one-time link of the first start."""

    @routes.get("/login")
    def login(request: Request, next: str = "/") -> Response:
        """A token in the query would be kept by histories and logs: it is not read there."""
        return page(site, request, next)

    @routes.post("/login")
    def login_by_form(
        request: Request, name: str = Form(""), password: str = Form(""), next: str = Form("/")
    ) -> Response:
        _own_form(request)
        try:
            account = directory.log_in(site.store, name, password, site.now(), auth.network_of(request))
        except PersonError as refused:
            return page(site, request, next, name, refused.reason)
        return begin(site, request, account, next)

    @routes.post("/login/first")
    def first(
        request: Request, token: str = Form(""), name: str = Form(""), password: str = Form(""), next: str = Form("/")
    ) -> Response:
        _own_form(request)
        return _claim(site, request, token, name, password, next)


def _second_proofs(routes: APIRouter, site: Site) -> None:
    """A code or a passkey, of whoever has one."""

    @routes.get("/login/second")
    def second(request: Request, next: str = "/") -> Response:
        return _second_page(site, request, next)

    @routes.post("/login/passkey")
    def second_by_passkey(
        request: Request, mark: str = Form(""), answer: str = Form(""), next: str = Form("/")
    ) -> Response:
        forms.check(request, mark)
        return _passkey(site, request, answer, next)

    @routes.post("/login/second")
    def second_by_form(
        request: Request, mark: str = Form(""), code: str = Form(""), next: str = Form("/")
    ) -> Response:  # fmt: skip
        forms.check(request, mark)
        return _second(site, request, code, next)


def _own_form(request: Request) -> None:
    """There is no session yet whose mark the form could carry. Raises Mistaken."""
    if not forms.is_of_this_site(request):
        raise Mistaken(403, "form: came from a page of another site; open the page here and press its button")


def page(site: Site, request: Request, onward: str, name: str = "", why: users.Why | None = None) -> Response:
    status = STATUS.get(why, 403) if why else 200
    return View.of(site, request).page(
        "login.html", status=status, next=auth.onward(onward), name=name[: users.MAX_NAME], why=why or "",
        first=site.first_link.is_open, issuer=site.oidc.name if site.oidc else "",
    )  # fmt: skip


def begin(site: Site, request: Request, account: Account, onward: str) -> Response:
    """A session for an account that was proven, by its password or by the issuer: a whole one, unless it has a second
    proof to give."""
    now_ms = site.now()
    with site.store.write() as conn:
        is_full = not second_factors.listing(conn, account)
        token = _cookie(conn, request, account, now_ms, is_full=is_full)
    place = _onward(account, onward)
    answer = RedirectResponse(place if is_full else f"/login/second?{urlencode({'next': place})}", status_code=303)
    return _with_cookie(site, answer, token, FULL_S if is_full else HALF_S)


def _cookie(conn: sa.Connection, request: Request, account: Account, now_ms: int, *, is_full: bool) -> str:
    agent = request.headers.get("user-agent", "")
    return sessions.begin(
        conn, account, now_ms, is_full=is_full, address=auth.network_of(request), agent=agent
    )  # fmt: skip


def _with_cookie(site: Site, answer: Response, token: str, lasts_s: int) -> Response:
    answer.set_cookie(
        auth.COOKIE, token, max_age=lasts_s, httponly=True, samesite="lax", secure=site.secure
    )  # fmt: skip
    return answer


def _claim(site: Site, request: Request, token: str, name: str, password: str, onward: str) -> Response:
    """The first admin. The link is used up with it."""
    if not site.first_link.knows(token):
        return page(site, request, onward, name, "no_token" if site.first_link.is_open else "no_link")
    try:
        account = directory.claim(site.store, name, password, site.now(), auth.network_of(request))
    except PersonError as refused:
        return page(site, request, onward, name, refused.reason)
    except passwords.Weak:
        return page(site, request, onward, name, "weak")
    site.first_link.use_up()
    return begin(site, request, account, onward)


def _second(site: Site, request: Request, code: str, onward: str) -> Response:
    """A whole session for a half one and a right code; the half one ends."""
    asker, now_ms = auth.asker(request), site.now()
    try:
        second_factors.prove(site.store, site.seal, asker.account, code, now_ms)
    except PersonError as refused:
        return _second_page(site, request, onward, refused.reason)
    return _whole(site, request, onward)


def _passkey(site: Site, request: Request, answer: str, onward: str) -> Response:
    """A whole session for a half one and the signature of a passkey."""
    if site.party is None:
        raise Mistaken(404, "passkeys: need an address with a name; set [web] public_url")
    nonce = passkeys.challenge("prove", request.cookies.get(auth.COOKIE, ""))
    try:
        passkeys.prove(site.store, site.party, auth.asker(request).account, nonce, answer, site.now())
    except PersonError as refused:
        return _second_page(site, request, onward, refused.reason)
    return _whole(site, request, onward)


def _second_page(site: Site, request: Request, onward: str, why: users.Why | None = None) -> Response:
    with site.store.read() as conn:
        factors = second_factors.listing(conn, auth.asker(request).account)
    known = [row for row in factors if row["kind"] == passkeys.KIND]
    nonce = passkeys.challenge("prove", request.cookies.get(auth.COOKIE, ""))
    options = passkeys.options_to_prove(site.party, known, nonce) if known and site.party else ""
    status = STATUS.get(why, 403) if why else 200
    return View.of(site, request).page(
        "second.html", status=status, next=auth.onward(onward), why=why or "", passkey_options=options,
        has_code=len(known) < len(factors) or not known,
    )  # fmt: skip


def _whole(site: Site, request: Request, onward: str) -> Response:
    """The half session ends, a whole one begins."""
    asker, now_ms = auth.asker(request), site.now()
    with site.store.write() as conn:
        if asker.session is not None:
            sessions.drop(conn, asker.session.id)
        token = _cookie(conn, request, asker.account, now_ms, is_full=True)
    return _with_cookie(site, RedirectResponse(_onward(asker.account, onward), status_code=303), token, FULL_S)


def _onward(account: Account, path: str) -> str:
    """Where a person goes after log-in who has not been on the way to somewhere else."""
    place = auth.onward(path)
    return home(account) if place == "/" else place


def _log_out(site: Site, request: Request) -> None:
    asker = auth.asker(request)
    if asker.session is not None:
        with site.store.write() as conn:
            sessions.drop(conn, asker.session.id)
            users.record(conn, "logged_out", asker.account.name, site.now(), is_proven=True)
