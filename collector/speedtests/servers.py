"""Measurement servers on neutral hosts: the desk adds one, it joins once with its own key, the desk may revoke it."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Annotated

import msgspec
import sqlalchemy as sa

from agent import wire
from agent.common.errors import describe
from collector.access.enrolment import EnrolmentRefused, is_signed
from collector.store import schema
from collector.store.journal import journaled

MAX_REQUEST_BYTES = 4096
CONTEXT = b"nabz-join\n"  # what a server signs to join, with its token after it
DAY_MS = 86_400_000
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_servers, _tokens = schema.measure_servers, schema.server_tokens


class ServerError(Exception):
    """A measurement server cannot be what was asked; one sentence with the thing, the rule and the fix."""


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    token: Annotated[str, msgspec.Meta(max_length=64)]
    public_key: Annotated[str, msgspec.Meta(max_length=64)]
    proof: Annotated[str, msgspec.Meta(max_length=128)]


# ---------------------------------------------------------------- the desk


def add(conn: sa.Connection, name: str, url: str, tests_at_once: int, place: str, now_ms: int) -> str:
    """A token with which one server may join as `name` within a day; only its hash is kept. Raises ServerError."""
    if not NAME.fullmatch(name):
        raise ServerError(f"server {name[:64]!r}: must be 1 to 64 small letters, digits, dots, dashes; e.g. pie-khi")
    if not url.startswith(("http://", "https://")):
        raise ServerError(f"server {name}: its address {url[:80]!r} must begin with http:// or https://")
    if not 0 <= tests_at_once <= 10_000:
        raise ServerError(f"server {name}: --tests {tests_at_once} must be 0 (no turns) to 10000; as its line carries")
    held = conn.scalar(sa.select(_servers.c.revoked_ms.is_(None)).where(_servers.c.name == name))
    if held is not None:
        how = "has joined" if held else "was revoked"
        raise ServerError(f"server {name}: {how} already; give the new one another name, so that records differ")
    conn.execute(sa.delete(_tokens).where(_tokens.c.name == name))
    token = secrets.token_hex(16)
    row = {"token_hash": _hash(token), "name": name, "url": url.rstrip("/"), "place": place}
    times = {"issued_ms": now_ms, "expires_ms": now_ms + DAY_MS}
    conn.execute(sa.insert(_tokens).values(**row, **times, tests_at_once=tests_at_once))
    return token


def revoke(conn: sa.Connection, name: str, now_ms: int) -> None:
    """Nothing that it sees from now on counts. Raises ServerError."""
    conn.execute(sa.delete(_tokens).where(_tokens.c.name == name))
    mine = (_servers.c.name == name) & _servers.c.revoked_ms.is_(None)
    if not conn.execute(sa.update(_servers).where(mine).values(revoked_ms=now_ms)).rowcount:
        raise ServerError(f"server {name[:64]!r}: is not joined; see `nabz-collector server list`")
    journaled(conn, _servers, name)


def listed(conn: sa.Connection) -> list[dict[str, object]]:
    """Every server with its state: waiting (added, not joined yet), joined, revoked."""
    names = ("name", "url", "place", "tests_at_once")
    records = sa.select(schema.records.c.server, sa.func.count().label("records"))
    counts = {row.server: row.records for row in conn.execute(records.group_by(schema.records.c.server))}
    servers: list[dict[str, object]] = []
    for row in conn.execute(sa.select(_servers).order_by(_servers.c.name)):
        key = None if row.public_key is None else base64.b64encode(bytes(row.public_key)).decode()
        state = "joined" if row.revoked_ms is None else "revoked"
        facts = {"state": state, "joined_ms": row.joined_ms, "revoked_ms": row.revoked_ms, "public_key": key}
        servers.append({name: getattr(row, name) for name in names} | facts | {"records": counts.get(row.name, 0)})
    for row in conn.execute(sa.select(_tokens).where(_tokens.c.used_ms.is_(None)).order_by(_tokens.c.name)):
        facts = {"state": "waiting", "joined_ms": None, "revoked_ms": None, "public_key": None, "records": 0}
        servers.append({name: getattr(row, name) for name in names} | facts)
    return servers


# ---------------------------------------------------------------- the server joins


def join(conn: sa.Connection, body: bytes, now_ms: int, collector_key: bytes) -> dict[str, str]:
    """The answer to a server that joins (its request's JSON bytes). Raises EnrolmentRefused.

    The same server asking again with the same token gets the same answer: the first may have been lost on its way.
    """
    token, public_key = _proven(body)
    claimed = conn.execute(sa.select(_tokens).where(_tokens.c.token_hash == _hash(token))).one_or_none()
    if claimed is None:
        raise EnrolmentRefused(403, "join.token_unknown")
    held = conn.scalar(sa.select(_servers.c.public_key).where(_servers.c.name == claimed.name))
    if claimed.used_ms is not None and (held is None or bytes(held) != public_key):
        raise EnrolmentRefused(403, "join.token_used")
    if claimed.used_ms is None:
        if claimed.expires_ms <= now_ms:
            raise EnrolmentRefused(403, "enrol.token_expired")
        facts = {"url": claimed.url, "place": claimed.place, "tests_at_once": claimed.tests_at_once}
        row = {"name": claimed.name, "public_key": public_key, "joined_ms": now_ms}
        conn.execute(sa.insert(_servers).values(**row, **facts))
        conn.execute(sa.update(_tokens).where(_tokens.c.token_hash == claimed.token_hash).values(used_ms=now_ms))
        journaled(conn, _servers, claimed.name)
        journaled(conn, _tokens, claimed.token_hash)
    return {"name": claimed.name, "collector_key": base64.b64encode(collector_key).decode()}


def _proven(body: bytes) -> tuple[str, bytes]:
    try:
        request = msgspec.json.decode(body, type=JoinRequest)
        public_key = base64.b64decode(request.public_key, validate=True)
        proof = base64.b64decode(request.proof, validate=True)
    except (*wire.UNREADABLE, ValueError) as error:
        raise EnrolmentRefused(400, "join.unframed", text=describe(error)[:300]) from None
    if len(public_key) != 32 or not is_signed(public_key, CONTEXT + request.token.encode(errors="replace"), proof):
        raise EnrolmentRefused(401, "join.proof")
    return request.token, public_key


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
