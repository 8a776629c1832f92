"""The page of gateways that wait for a second person, and that person's word: by name and passphrase, so that nobody
has to log in as somebody."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from collector.access import approvals, users
from collector.access.accounts import directory, policy
from collector.access.users import PersonError
from collector.common.scope import Scope
from collector.register import centers
from collector.web import auth, forms
from collector.web.errors import Mistaken
from collector.web.site import Site
from collector.web.view import View

SHOWN, DECIDED_SHOWN = 50, 20
DEVICE = re.compile(r"g[0-9a-f]{16}")
DECISIONS: dict[str, approvals.Decision] = {"approve": "approved", "refuse": "refused"}
STATUS: dict[users.Why, int] = {
    "wrong": 403,
    "not_proven": 403,
    "may_not": 403,
    "out_of_scope": 403,
    "too_many": 429,
    "busy": 503,
}
SAID: tuple[users.Why, ...] = (
    *STATUS, "bad_name", "not_waiting", "which_center", "own_token", "maker_not_proven"
)  # fmt: skip


@dataclass(frozen=True)
class DecisionError:
    """Why a decision was not taken, beside the form it was given in."""

    device: str
    center: str
    name: str
    reason: users.Why


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/waiting")
    def waiting(request: Request) -> Response:
        return _page(site, request)

    @routes.post("/waiting")
    def decide(
        request: Request, mark: str = Form(""), device: str = Form(""), center: str = Form(""), name: str = Form(""),
        passphrase: str = Form(""), reason: str = Form(""), decision: str = Form(""),
    ) -> Response:  # fmt: skip
        forms.check(request, mark)
        if decision not in DECISIONS or not DEVICE.fullmatch(device) or not centers.CODE.fullmatch(center):
            raise Mistaken(400, "form: is not of this page; open the page again and press its button")
        try:
            _decide(site, request, device, center, DECISIONS[decision], name, passphrase, reason)
        except PersonError as refused:
            refusal = DecisionError(device, center, name[: users.MAX_NAME], refused.reason)
            return _page(site, request, refusal, STATUS.get(refused.reason, 409))
        return RedirectResponse("/waiting#decided", status_code=303)

    return routes


def _decide(
    site: Site, request: Request, device: str, center: str, decision: approvals.Decision, name: str, secret: str,
    reason: str,
) -> None:  # fmt: skip
    """The password is compared outside of any transaction, as that takes a while. Whoever decides may be another than
    whoever is logged in; both must be allowed to, at this center. Raises PersonError."""
    now_ms = site.now()
    who = users.prove(site.store, name, secret, now_ms, counted=True, address=auth.network_of(request))
    about = {"proof": who.proof, "center": center}
    with site.store.write() as conn:
        place = centers.some_centers(conn, [center]).get(center)
        for account in (auth.account_of(request), directory.account_of(conn, who.name)):
            if place is None or not policy.allowed(account, "gateway.decide", place):
                raise PersonError("out_of_scope", f"center {center}: is not one that {who.name} decides about")
        approvals.decide(conn, device, decision, who.name, now_ms, _printable(reason), **about)


def _page(site: Site, request: Request, refusal: DecisionError | None = None, status: int = 200) -> Response:
    with site.store.read() as conn:
        values = _values(site, conn, auth.asker(request).account.scope)
    about = (refusal.device, refusal.center) if refusal else ()
    is_shown = any((row["device"], row["center"]) == about for row in values["rows"])
    values["beside"] = is_shown and values["registered"]
    return View.of(site, request).page("waiting.html", status=status, refusal=refusal, grouped=grouped, **values)


def _values(site: Site, conn: sa.Connection, scope: Scope) -> dict[str, Any]:
    rows = approvals.waiting(conn, scope)
    codes = {str(row["center"]) for row in rows}
    return {
        "asks": site.facts.approval == "second_person",
        "doubt": users.doubt(conn),
        "registered": users.registered(conn),
        "rows": rows[:SHOWN],
        "more": len(rows[SHOWN:]),
        "names": {code: center.name for code, center in centers.some_centers(conn, codes).items()},
        "decided": approvals.decided(conn, DECIDED_SHOWN, scope),
    }


def grouped(key_hash: str) -> list[str]:
    """A fingerprint as people compare it: fours."""
    return [key_hash[place : place + 4] for place in range(0, len(key_hash), 4)]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
