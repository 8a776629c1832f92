"""One-time links in messages, by which a person works on an incident without logging in: each is bound to the
person and the incident, ends, and is used once. Only the hash of its secret is kept, and the message that was sent
forgets it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from collector.desk.incident import WorkError
from collector.desk.routing import directory
from collector.store import schema

PATH = "/a/"
LASTS_MS = 24 * 3_600_000
SECRET = re.compile(r"[A-Za-z0-9_-]{22}")
_IN_TEXT = re.compile(rf"{PATH}{SECRET.pattern}")

_l = schema.links.c


@dataclass(frozen=True)
class AckLink:
    """A link that may be used; `name` is the person's."""

    incident: int
    person: str
    name: str


def make(conn: sa.Connection, incident: int, person: str, base_url: str, now_ms: int) -> str:
    """The address of a new link."""
    secret = secrets.token_urlsafe(16)
    row = {
        "token_hash": _hash(secret), "incident": incident, "person": person, "made_ms": now_ms,
        "expires_ms": now_ms + LASTS_MS, "used_ms": None,
    }  # fmt: skip
    conn.execute(sa.insert(schema.links), [row])
    return f"{base_url}{PATH}{secret}"


def find(conn: sa.Connection, secret: str, now_ms: int) -> AckLink | None:
    """None for a secret that is none, has ended or was used, and for a person who is gone: the same for all of them."""
    if not SECRET.fullmatch(secret):
        return None
    mine = (_l.token_hash == _hash(secret)) & _l.used_ms.is_(None) & (_l.expires_ms > now_ms)
    row = conn.execute(sa.select(_l.incident, _l.person).where(mine)).one_or_none()
    if row is None:
        return None
    person = next((one for one in directory.people(conn) if one.key == row.person), None)
    return AckLink(row.incident, person.key, person.name) if person else None


def use(conn: sa.Connection, secret: str, now_ms: int) -> AckLink:
    """The link, which is used up. Raises WorkError."""
    link = find(conn, secret, now_ms)
    mine = (_l.token_hash == _hash(secret)) & _l.used_ms.is_(None)
    if link is None or conn.execute(sa.update(schema.links).where(mine).values(used_ms=now_ms)).rowcount != 1:
        raise WorkError("link: has ended or was used; open the incident and log in")
    return link


def secret_in(text: str) -> str:
    """Of the link in a message; empty without one."""
    found = _IN_TEXT.search(text)
    return found[0].removeprefix(PATH) if found else ""


def redacted(text: str) -> str:
    """A message's text without the secrets of its links."""
    return _IN_TEXT.sub(f"{PATH}…", text)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
