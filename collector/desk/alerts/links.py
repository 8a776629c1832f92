"""One-time links in messages, by which a person works on an incident without logging in: each is bound to the
person and the incident, ends, and is used once.

A message that waits has a place for its link, as long as the link: the link is made when the message is sent, and the
database only ever has the hash of its secret.
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
PLACE = "-" * 22  # stands for a secret: of its length and its alphabet, so that a text message costs the same
_IN_TEXT = re.compile(rf"{PATH}{SECRET.pattern}")

_l = schema.links.c


@dataclass(frozen=True)
class AckLink:
    """A link that may be used; `name` is the person's."""

    incident: int
    person: str
    name: str


def place(base_url: str) -> str:
    """The address of a link that is made when its message is sent."""
    return f"{base_url}{PATH}{PLACE}"


def filled(conn: sa.Connection, text: str, incident: int, person: str, now_ms: int) -> str:
    """A message's text with a new link in its place; as it is where it has none."""
    if f"{PATH}{PLACE}" not in text:
        return text
    return text.replace(f"{PATH}{PLACE}", make(conn, incident, person, "", now_ms))


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
    match = _IN_TEXT.search(text)
    return match[0].removeprefix(PATH) if match else ""


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
