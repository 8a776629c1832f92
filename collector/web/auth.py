"""Who may come in: whoever knows the token, as with Jupyter, and afterwards whoever holds the cookie it gave.

The token is made once and kept beside the database; the link with it is printed at start. The cookie is an expiry
signed with a key drawn from the token, so that sessions outlive a restart and end when the token is replaced.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from collector.access.atomic_files import keep_once

COOKIE = "nabz_session"
SESSION_S = 30 * 86_400
TOKEN_FILE = "web-token"  # noqa: S105 - a file's name
OPEN_PATHS = frozenset({"/login", "/healthz", "/readyz", "/favicon.ico", "/api/v1/ca", "/api/v1/time"})
OPEN_PREFIX = "/static/"
OPEN_POSTS = frozenset({"/api/v1/enrol", "/api/v1/renew", "/api/v1/servers/join", "/api/v1/records"})


def load_token(data_dir: Path) -> str:
    """The token kept in `data_dir` (mode 0600), made now if there is none. Raises OSError."""
    path = data_dir / TOKEN_FILE
    kept = path.read_bytes() if path.exists() else keep_once(path, secrets.token_urlsafe(32).encode() + b"\n")
    return kept.decode("ascii").strip()


class Authenticator:
    """Opens to the token and to sessions it has made."""

    def __init__(self, token: str) -> None:
        if len(token) < 16:
            raise ValueError("the log-in token must have at least 16 characters; delete its file to get a new one")
        self._token = token.encode()
        self._key = hashlib.sha256(b"nabz-session\0" + self._token).digest()

    def knows(self, token: str) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(token.strip().encode(), self._token)

    def session(self, now_ms: int) -> str:
        """The value of a cookie that admits for SESSION_S from now."""
        expires_s = str(now_ms // 1000 + SESSION_S)
        return f"{expires_s}.{self._seal(expires_s)}"

    def admits(self, session: str | None, now_ms: int) -> bool:
        expires_s, _, seal = (session or "").partition(".")
        if not (expires_s.isascii() and expires_s.isdigit() and len(expires_s) < 16):
            return False
        right = hmac.compare_digest(seal.encode(), self._seal(expires_s).encode())
        return right and now_ms < int(expires_s) * 1000

    def form_mark(self, session: str | None) -> str:
        """What a form of this session carries, so that no other site can send it in a reader's name."""
        return hmac.new(self._key, f"form\0{session or ''}".encode(), hashlib.sha256).hexdigest()

    def is_form_of(self, session: str | None, mark: str) -> bool:
        return hmac.compare_digest(self.form_mark(session).encode(), mark.encode())

    def _seal(self, expires_s: str) -> str:
        return hmac.new(self._key, expires_s.encode(), hashlib.sha256).hexdigest()


def is_open(method: str, path: str) -> bool:
    """Whether a request is served without a session; everything that is not named here is denied."""
    if method == "POST" and path in OPEN_POSTS:
        return True
    return path in OPEN_PATHS or (path.startswith(OPEN_PREFIX) and method in ("GET", "HEAD"))


def onward(path: str) -> str:
    """Where to go after log-in: a path of this site, never another's address."""
    local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if local and "\\" not in path else "/"
