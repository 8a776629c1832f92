"""Log-in by the issuer of the settings: to it, and back, and out there too. Local accounts need none of this."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from agent.common.logs import Event
from collector.access.accounts import directory
from collector.access.accounts.oidc import ATTEMPT_LASTS_MS, MAX_HINT, LoginAttempt, OidcClient
from collector.access.accounts.policy import Account
from collector.access.users import PersonError
from collector.web import auth
from collector.web.errors import Mistaken
from collector.web.pages import log_in
from collector.web.site import Site

COOKIE, PATH, SEALED_FOR = "nabz_oidc", "/login/oidc", "oidc log-in"
OUT_COOKIE, OUT_FOR = "nabz_oidc_out", "oidc log-out"  # the ID token, which the issuer is shown at the log-out
REFUSED = Event(__name__, "warning", "oidc_refused", "a log-in by the issuer was refused", fields="error")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get(PATH)
    def begin(request: Request, next: str = "/") -> Response:
        attempt = LoginAttempt.new(auth.onward(next), site.now())
        try:
            place = _client(site).address(attempt, site.now())
        except PersonError as refused:
            return _refused(site, request, next, refused)
        answer = RedirectResponse(place, status_code=303)
        answer.set_cookie(
            COOKIE, site.seal.seal(attempt.encode(), SEALED_FOR), max_age=ATTEMPT_LASTS_MS // 1000, path=PATH,
            httponly=True, samesite="lax", secure=site.secure,
        )  # fmt: skip
        return answer

    @routes.get(f"{PATH}/back")
    def back(request: Request) -> Response:
        attempt = _attempt(site, request)
        try:
            account, token = _account(site, attempt, request)
        except PersonError as refused:
            return _without_cookie(_refused(site, request, attempt.onward if attempt else "/", refused))
        answer = log_in.begin(site, request, account, attempt.onward if attempt else "/")
        answer.set_cookie(
            OUT_COOKIE, site.seal.seal(token if len(token) <= MAX_HINT else "", OUT_FOR), max_age=log_in.FULL_S,
            path=log_in.OUT, httponly=True, samesite="lax", secure=site.secure,
        )  # fmt: skip
        return _without_cookie(answer)

    @routes.get(log_in.OUT)
    def leave(request: Request) -> Response:
        """The issuer's own log-out, for a browser that it let in. By a refresh: a form may not lead to another site."""
        return _left(site, request)

    return routes


def _left(site: Site, request: Request) -> Response:
    token = _unsealed(site, request.cookies.get(OUT_COOKIE, ""), OUT_FOR)
    place = "" if token is None or site.oidc is None else site.oidc.leave_address(token, site.now())
    if not place:
        return RedirectResponse("/login", status_code=303)
    answer = log_in.page(site, request, "/")
    answer.headers["refresh"] = f"0; url={place}"
    answer.delete_cookie(OUT_COOKIE, path=log_in.OUT)
    return answer


def _client(site: Site) -> OidcClient:
    if site.oidc is None:
        raise Mistaken(404, "log-in by an issuer: there is none; set [oidc] issuer")
    return site.oidc


def _attempt(site: Site, request: Request) -> LoginAttempt | None:
    return LoginAttempt.decode(_unsealed(site, request.cookies.get(COOKIE, ""), SEALED_FOR), site.now())


def _unsealed(site: Site, cookie: str, purpose: str) -> str | None:
    try:
        return site.seal.unseal(cookie, purpose) if cookie else None
    except ValueError:  # no base64
        return None


def _account(site: Site, attempt: LoginAttempt | None, request: Request) -> tuple[Account, str]:
    """Whose it is, and the issuer's word. Raises PersonError."""
    client = _client(site)
    if attempt is None:
        raise PersonError("oidc_refused", "log-in by the issuer: was not begun in this browser, or too long ago")
    login = client.finish(attempt, request.query_params, site.now())
    with site.store.read() as conn:
        account = directory.account_of_identity(conn, login.identities)
    if account is None:
        raise PersonError("oidc_unknown", f"{login.identities[-1][:80]!r}: is nobody's here; an admin says whose it is")
    return account, login.token


def _refused(site: Site, request: Request, onward: str, refused: PersonError) -> Response:
    REFUSED.log(error=refused)
    return log_in.page(site, request, onward, why=refused.reason)


def _without_cookie(answer: Response) -> Response:
    answer.delete_cookie(COOKIE, path=PATH)
    return answer
