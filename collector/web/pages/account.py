"""One's own account: its password, its second proof, and the sessions that are open in its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import segno
import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from agent.common.words import plain
from collector.access import passwords, users
from collector.access.accounts import directory, passkeys, push_devices, second_factors, sessions
from collector.access.accounts.policy import SECOND_PROOF, Account
from collector.access.accounts.second_factors import NewSecret
from collector.access.users import PersonError
from collector.desk.alerts import queue
from collector.desk.alerts.channel import AlertMessage
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

STATUS: dict[users.Why, int] = {"too_many": 429, "busy": 503}
SAID: tuple[users.Why, ...] = ("weak", "wrong", "wrong_code", "too_many", "busy", "bad_device")
OTHERS = "others"


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/account")
    def account(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/account/password")
    def password(request: Request, mark: str = Form(""), old: str = Form(""), new: str = Form("")) -> Response:
        forms.check(request, mark)
        return _tried(site, request, lambda: _change_password(site, request, old, new))

    @routes.post("/account/sessions")
    def end(request: Request, mark: str = Form(""), which: str = Form("")) -> Response:
        forms.check(request, mark)
        return _tried(site, request, lambda: _end_sessions(site, request, which))

    @routes.post("/account/factor")
    def factor(
        request: Request, mark: str = Form(""), act: str = Form(""), code: str = Form(""), old: str = Form("")
    ) -> Response:
        forms.check(request, mark)
        return _tried(site, request, lambda: _factor(site, request, act, code, old))

    @routes.post("/account/passkey")
    def passkey(request: Request, mark: str = Form(""), answer: str = Form("")) -> Response:
        forms.check(request, mark)
        return _tried(site, request, lambda: _add_passkey(site, request, answer), "/account#factor")

    @routes.post("/account/push")
    def push(
        request: Request, mark: str = Form(""), act: str = Form(""), answer: str = Form(""), which: str = Form("")
    ) -> Response:
        forms.check(request, mark)
        return _tried(site, request, lambda: _push(site, request, act, answer, which), "/account#push")

    return routes


def _tried(site: Site, request: Request, act: Callable[[], NewSecret | None], then: str = "/account") -> Response:
    """The page once more where the act is refused, or has made what is shown but once; else the way to it."""
    try:
        made = act()
    except PersonError as refused:
        return _page(site, request, refused.reason)
    except passwords.Weak:
        return _page(site, request, "weak")
    return _page(site, request, made=made) if made else RedirectResponse(then, status_code=303)


def _end_sessions(site: Site, request: Request, which: str) -> None:
    asker = auth.asker(request)
    own = asker.session.id if asker.session else ""
    with site.store.write() as conn:
        if which == OTHERS:
            sessions.end_all(conn, asker.account, asker.account.name, site.now(), but=own)
        else:
            sessions.end(conn, asker.account, which, asker.account.name, site.now())


def _push(site: Site, request: Request, act: str, answer: str, which: str) -> None:
    """Messages to a device are turned on, with one to try it, or off. Raises PersonError, Mistaken."""
    account, now_ms = auth.asker(request).account, site.now()
    channel = next((one for one in site.board.channels if one.address == "push"), None)
    if channel is None or act not in ("add", "remove"):
        raise Mistaken(404, "messages to devices: need a channel push+mailto:ADDRESS; add one to [[alerts.channels]]")
    with site.store.write() as conn:
        if act == "remove":
            push_devices.remove(conn, account, which, now_ms)
            return
        agent = request.headers.get("user-agent", "")
        device = push_devices.parse(answer, account, site.push_services, agent, now_ms)
        push_devices.add(conn, device, account, now_ms)
        words = plain(View.of(site, request).words.lang)
        message = AlertMessage(words("alerts.test.title"), words("alerts.test.text"), address=account.key)
        queue.queue_test(conn, channel.name, message, now_ms, account.key)


def _add_passkey(site: Site, request: Request, answer: str) -> None:
    """Raises PersonError, Mistaken."""
    if site.party is None:
        raise Mistaken(404, "passkeys: need an address with a name; set [web] public_url")
    nonce = passkeys.challenge("add", request.cookies.get(auth.COOKIE, ""))
    with site.store.write() as conn:
        passkeys.add(conn, site.party, auth.asker(request).account, nonce, answer, site.now())


def _change_password(site: Site, request: Request, old: str, new: str) -> None:
    """Every other session ends. Raises PersonError, passwords.Weak."""
    asker, now_ms = auth.asker(request), site.now()
    users.prove(site.store, asker.account.name, old, now_ms, counted=True, address=auth.network_of(request))
    passwords.judge(new)
    kept = passwords.hash_password(new)
    with site.store.write() as conn:
        session = asker.session.id if asker.session else ""
        directory.set_password(
            conn, asker.account.name, kept, asker.account.name, now_ms, session=session, is_proven=True
        )


def _factor(site: Site, request: Request, act: str, code: str, old: str) -> NewSecret | None:
    """The secret of a second proof that was begun. Raises PersonError, Mistaken."""
    account, now_ms = auth.asker(request).account, site.now()
    if act == "begin":
        with site.store.write() as conn:
            return second_factors.begin(conn, site.seal, account, now_ms)
    if act == "confirm":
        second_factors.confirm(site.store, site.seal, account, code, now_ms)
    elif act == "remove":
        users.prove(site.store, account.name, old, now_ms, counted=True, address=auth.network_of(request))
        with site.store.write() as conn:
            second_factors.remove(conn, account, account.name, now_ms)
    else:
        raise Mistaken(400, "form: is not of this page; open the page again and press its button")
    return None


def _page(site: Site, request: Request, why: users.Why | None = None, made: NewSecret | None = None) -> Response:
    asker = auth.asker(request)
    with site.store.read() as conn:
        rows = sessions.listing(conn, asker.account.key, site.now())
        factors = second_factors.listing(conn, asker.account)
        passkey_options = _passkey_options(site, request, factors)
        devices = push_devices.of_person(conn, asker.account.key)
    picture = segno.make(made.address, error="m", micro=False).svg_data_uri(scale=5) if made else ""
    return View.of(site, request).page(
        "account.html", status=STATUS.get(why, 403) if why else 200, why=why or "", rows=rows, factors=factors,
        made=made, picture=picture, own=asker.session.id if asker.session else "", others=OTHERS,
        advised=_is_advised(asker.account), passkey_options=passkey_options,
        push_key=site.push_key, devices=devices,
    )  # fmt: skip


def _passkey_options(site: Site, request: Request, factors: Sequence[sa.RowMapping]) -> str:
    """What the browser needs to make a passkey; empty where there can be none."""
    if site.party is None:
        return ""
    known = [row for row in factors if row["kind"] == passkeys.KIND]
    nonce = passkeys.challenge("add", request.cookies.get(auth.COOKIE, ""))
    return passkeys.options_to_add(site.party, auth.asker(request).account, known, nonce)


def _is_advised(account: Account) -> bool:
    """Whether a second proof is expected of this account: of all who can change what others see."""
    return account.role in SECOND_PROOF
