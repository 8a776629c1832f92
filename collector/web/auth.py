"""Who asks: the session of a cookie, or the API key of a header; and the link that makes the first admin.

The link's token is made at the first start and kept beside the database until it has been used: whoever holds it makes
the first account, which makes all others. Cookies are collector.access.accounts.sessions'.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from fastapi import Request
from starlette.datastructures import Headers

from collector.access.accounts.api_keys import ApiKey
from collector.access.accounts.policy import Account, allowed
from collector.access.accounts.sessions import WebSession
from collector.access.atomic_files import keep_once
from collector.access.users import address_group
from collector.common.scope import Located

COOKIE = "nabz_session"
TOKEN_FILE = "web-token"  # noqa: S105 - a file's name
SHORTEST_TOKEN = 16
STATE = "asker"


@dataclass(frozen=True)
class Asker:
    """Who sent a request: an account, by a session or by an API key."""

    account: Account
    session: WebSession | None = None
    api_key: ApiKey | None = None

    @property
    def used_ms(self) -> int | None:
        """When this session or key was last noted as used."""
        return self.session.seen_ms if self.session else self.api_key.used_ms if self.api_key else None


class FirstLink:
    """The one-time token of the first admin, as long as there is none."""

    def __init__(self, path: Path, token: str | None) -> None:
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ValueError(f"{path}: the token must have {SHORTEST_TOKEN} characters or more; delete the file")
        self._path, self._token = path, token

    @classmethod
    def load(cls, data_dir: Path, *, has_admin: bool) -> FirstLink:
        """With the token kept in `data_dir` (mode 0600), made now if there is none. One that is left beside an admin
        is deleted: it opens nothing. Raises OSError."""
        path = data_dir / TOKEN_FILE
        if has_admin:
            path.unlink(missing_ok=True)
            return cls(path, None)
        kept = path.read_bytes() if path.exists() else keep_once(path, secrets.token_urlsafe(32).encode() + b"\n")
        return cls(path, kept.decode("ascii").strip())

    @property
    def is_open(self) -> bool:
        return self._token is not None

    def knows(self, token: str) -> bool:
        """Compared in constant time."""
        expected = self._token
        return expected is not None and hmac.compare_digest(token.strip().encode(errors="replace"), expected.encode())

    def use_up(self) -> None:
        """There is an admin: the token opens nothing more, and its file goes. Raises OSError."""
        self._token = None
        self._path.unlink(missing_ok=True)


def cookie_of(headers: Headers) -> str:
    """The session's cookie; empty without one."""
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def bearer_of(headers: Headers) -> str:
    """The API key in `Authorization: Bearer …` (RFC 6750 §2.1); empty without one."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def asker(request: Request) -> Asker:
    """Whom the guard has let in. Raises RuntimeError on a route that anybody may ask for."""
    identity = getattr(request.state, STATE, None)
    if not isinstance(identity, Asker):
        raise RuntimeError(f"{request.url.path}: is open to anybody, so nobody is known to ask")
    return identity


def account_of(request: Request) -> Account | None:
    """The account that asks; None where none is needed."""
    identity = getattr(request.state, STATE, None)
    return identity.account if isinstance(identity, Asker) else None


def may(request: Request, action: str, center: Located | None = None) -> bool:
    return allowed(account_of(request), action, center)


def network_of(request: Request) -> str:
    """The group of addresses that a request comes from."""
    return address_group(request.client.host if request.client else "")


def form_mark(session_cookie: str | None) -> str:
    """What a form of this session carries, so that no other site can send it in a reader's name."""
    return hashlib.sha256(f"nabz-form\0{session_cookie or ''}".encode(errors="replace")).hexdigest()


def onward(path: str) -> str:
    """Where to go after log-in: a path of this site, never another's address."""
    local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if local and "\\" not in path else "/"
