"""Log-in by an OpenID Connect issuer: the code flow with PKCE (OpenID Connect Core 1.0 §3.1, RFC 7636, RFC 9207), and
the way out there (OpenID Connect RP-Initiated Logout 1.0).

The issuer says who somebody is, by its own name for them (`sub`) or a verified e-mail; an admin has said which account
that is. Nobody gets an account by it. What waits for the answer is sealed in a cookie, not in the database.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from agent import __version__
from agent.common import base64url
from agent.common.errors import describe
from collector.access.users import PersonError
from collector.common import http_client

ATTEMPT_LASTS_MS = 10 * 60_000
METADATA_LASTS_MS, AGAIN_MS = 3_600_000, 15_000  # of what the issuer says of itself; after a failure
TIMEOUT_S = 10.0
AT_ONCE = 4  # requests to the issuer: one that hangs must not take the threads of the pages
MAX_ANSWER, MAX_VALUE = 1 << 18, 4000
MAX_ONWARD = 1000  # letters of a path in the cookie
LEEWAY_S = 60  # between two machines' clocks
ALGORITHMS = ("RS256", "PS256", "ES256")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
OPTIONAL = ("userinfo_endpoint", "end_session_endpoint")
MAX_HINT = 2500  # letters of an ID token that is kept for the log-out: a cookie has 4096, sealed
IdentityKind = Literal["sub", "email"]


@dataclass(frozen=True)
class LoginAttempt:
    """What must come back, or was kept for it; sealed in the browser's cookie until then."""

    state: str
    nonce: str
    verifier: str
    onward: str
    made_ms: int

    @classmethod
    def new(cls, onward: str, now_ms: int) -> LoginAttempt:
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, onward if len(onward) <= MAX_ONWARD else "/", now_ms)

    def encode(self) -> str:
        return json.dumps(vars(self))

    @classmethod
    def decode(cls, text: str | None, now_ms: int) -> LoginAttempt | None:
        """None for one that is none, or too old."""
        try:
            attempt = cls(**json.loads(text or ""))
            return attempt if 0 <= now_ms - attempt.made_ms < ATTEMPT_LASTS_MS else None
        except (ValueError, TypeError, RecursionError):
            return None


@dataclass(frozen=True)
class IssuerAnswer:
    """Whom the issuer has seen; `email` is empty unless it verified it. `token` is the ID token that says so."""

    sub: str
    email: str
    token: str = ""

    @property
    def identities(self) -> tuple[str, ...]:
        """As accounts name them, the surer one first."""
        return (identity("sub", self.sub), *([identity("email", self.email)] if self.email else []))


def identity(kind: IdentityKind, value: str) -> str:
    """How an account names somebody at the issuer. Addresses are the same in large and small letters."""
    value = " ".join(value.split())
    return f"{kind}:{value.casefold() if kind == 'email' else value}" if value else ""


@dataclass
class OidcClient:
    """This collector at one issuer; what the issuer says of itself is kept for a while."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_url: str
    name: str
    _known: dict[str, tuple[int, Any]] = field(default_factory=dict)
    _places: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(AT_ONCE))

    def address(self, attempt: LoginAttempt, now_ms: int) -> str:
        """Where the browser goes to log in. Raises PersonError."""
        digest = hashlib.sha256(attempt.verifier.encode()).digest()
        query = {
            "response_type": "code", "client_id": self.client_id, "redirect_uri": self.redirect_url,
            "scope": "openid email", "state": attempt.state, "nonce": attempt.nonce,
            "code_challenge": base64url.encode(digest), "code_challenge_method": "S256",
        }  # fmt: skip
        place = self._metadata(now_ms)["authorization_endpoint"]
        return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}"

    def finish(self, attempt: LoginAttempt, answer: Mapping[str, str], now_ms: int) -> IssuerAnswer:
        """Who came back with this answer. Raises PersonError."""
        state, code = answer.get("state", ""), answer.get("code", "")
        if not hmac.compare_digest(state.encode(errors="replace"), attempt.state.encode()):
            raise _refused("its state is not that of this browser")
        if answer.get("iss", self.issuer) != self.issuer:
            raise _refused("it came from another issuer")
        if answer.get("error") or not 0 < len(code) <= MAX_VALUE:
            raise _refused(f"the issuer has not let the person in: {answer.get('error', 'no code')[:60]!r}")
        given = self._tokens(code, attempt, now_ms)
        token = given["id_token"]
        claims = self._claims(token, attempt.nonce, now_ms)
        if "email" not in claims:
            claims = {**claims, **self._userinfo(given.get("access_token"), claims["sub"], now_ms)}
        email = claims.get("email") if claims.get("email_verified") is True else ""
        return IssuerAnswer(str(claims["sub"])[:MAX_VALUE], email if isinstance(email, str) else "", token)

    def leave_address(self, token: str, now_ms: int) -> str:
        """Where the browser goes to log out of the issuer too; empty if it has no such place, or is away. `token`: the
        ID token of the log-in, or empty."""
        try:
            place = self._metadata(now_ms)["end_session_endpoint"]
        except PersonError:
            return ""
        query = {"client_id": self.client_id, "post_logout_redirect_uri": self.redirect_url.removesuffix("/oidc/back")}
        query |= {"id_token_hint": token} if token else {}
        return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}" if place else ""

    # ------------------------------------------------------------ the issuer

    def _tokens(self, code: str, attempt: LoginAttempt, now_ms: int) -> dict[str, Any]:
        """What is given for a code, an ID token for sure. Raises PersonError."""
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_url,
            "client_id": self.client_id, "code_verifier": attempt.verifier,
        }  # fmt: skip
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if self.client_secret:
            pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"  # RFC 6749 §2.3.1
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        given = self._answer_of(self._metadata(now_ms)["token_endpoint"], urlencode(form).encode(), headers)
        if not isinstance(given.get("id_token"), str):
            raise _refused("the issuer gave no ID token")
        return given

    def _userinfo(self, access_token: object, sub: str, now_ms: int) -> dict[str, Any]:
        """The e-mail that an ID token lacks, and whether it is verified (Core §5.3); nothing if the issuer says nothing
        of this person."""
        place = self._metadata(now_ms)["userinfo_endpoint"]
        if not place or not isinstance(access_token, str) or not 0 < len(access_token) <= MAX_VALUE:
            return {}
        if not (access_token.isascii() and access_token.isprintable()):
            return {}
        try:
            claims = self._answer_of(place, headers={"authorization": f"Bearer {access_token}"})
        except PersonError:
            return {}
        same = isinstance(claims.get("sub"), str) and claims["sub"] == sub
        return {name: claims[name] for name in ("email", "email_verified") if same and name in claims}

    def _claims(self, token: str, nonce: str, now_ms: int) -> dict[str, Any]:
        """Raises PersonError for a token that is not ours, not now, or not signed by the issuer."""
        from joserfc import errors, jwt

        try:
            try:
                claims = jwt.decode(token, self._keys(now_ms), algorithms=list(ALGORITHMS)).claims
            except (errors.InvalidKeyIdError, errors.BadSignatureError):  # perhaps by a newer key
                claims = jwt.decode(token, self._keys(now_ms, anew=True), algorithms=list(ALGORITHMS)).claims
            _check(claims, self.issuer, self.client_id, nonce, now_ms // 1000)
        except (errors.JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise _refused(f"its ID token does not hold ({type(error).__name__})") from None
        return dict(claims)

    def _keys(self, now_ms: int, *, anew: bool = False) -> Any:
        """Raises PersonError, ValueError, JoseError."""
        from joserfc.jwk import KeySet

        place = self._metadata(now_ms)["jwks_uri"]
        return KeySet.import_key_set(self._kept("keys", place, now_ms, AGAIN_MS if anew else METADATA_LASTS_MS))

    def _metadata(self, now_ms: int) -> Mapping[str, str]:
        """Raises PersonError."""
        place = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = self._kept("metadata", place, now_ms, METADATA_LASTS_MS)
        if metadata.get("issuer") != self.issuer:
            raise _away(f"it names itself {str(metadata.get('issuer'))[:80]!r}, the settings another")
        for name in ENDPOINTS:
            if not _is_safe(metadata.get(name)):
                raise _away(f"its {name} is no https address")
        optional = {name: str(metadata[name]) if _is_safe(metadata.get(name)) else "" for name in OPTIONAL}
        return {name: str(metadata[name]) for name in ENDPOINTS} | optional

    def _kept(self, name: str, place: str, now_ms: int, lasts_ms: int) -> Any:
        """An answer of the issuer, kept for a while; so is its absence, for a shorter one. Raises PersonError."""
        at_ms, answer = self._known.get(name, (0, None))
        is_error = isinstance(answer, PersonError)
        if answer is None or now_ms - at_ms >= (AGAIN_MS if is_error else lasts_ms):
            try:
                answer = self._answer_of(place)
            except PersonError as error:
                answer = error
            self._known[name] = (now_ms, answer)
        if isinstance(answer, PersonError):
            raise answer
        return answer

    def _answer_of(
        self, place: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """An object of JSON. Raises PersonError."""
        known = {"accept": "application/json", "user-agent": f"nabz/{__version__}", **(headers or {})}
        with self._place():
            try:
                answer = json.loads(
                    http_client.send(place, body, known, timeout_s=TIMEOUT_S, most_bytes=MAX_ANSWER).body
                )
            except http_client.HTTPError as error:
                with error:
                    raise _refused(f"HTTP {error.code}") if body else _away(f"HTTP {error.code}") from None
            except (*http_client.FAILURES, ValueError, RecursionError) as error:
                raise _away(describe(error)) from None
        if not isinstance(answer, dict):
            raise _away("its answer is no object")
        return answer

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise PersonError("busy", "issuer: is asked by too many at once; try again in a moment")
        try:
            yield
        finally:
            self._places.release()


def _is_safe(place: object) -> bool:
    """Whether it is an address that nobody on the way can read."""
    parts = urlsplit(str(place or ""))
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def _check(claims: Mapping[str, Any], issuer: str, client_id: str, nonce: str, now_s: int) -> None:
    """OpenID Connect Core §3.1.3.7. Raises JoseError, ValueError."""
    from joserfc import jwt

    essential = {"iss": issuer, "aud": client_id, "nonce": nonce}
    rules: Any = {name: {"essential": True, "value": value} for name, value in essential.items()}
    rules |= {name: {"essential": True} for name in ("sub", "exp", "iat")}
    jwt.JWTClaimsRegistry(now=now_s, leeway=LEEWAY_S, **rules).validate(dict(claims))
    audience = claims["aud"]
    if claims.get("azp", client_id) != client_id or (isinstance(audience, list) and audience != [client_id]):
        raise ValueError("the token is another client's too")
    if not isinstance(claims["sub"], str):
        raise ValueError("sub is no text")


def _refused(why: str) -> PersonError:
    return PersonError("oidc_refused", f"log-in by the issuer: {why}; begin anew")


def _away(why: str) -> PersonError:
    return PersonError("oidc_away", f"issuer: cannot be used ({why}); log in by password")
