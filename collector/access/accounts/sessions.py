"""Sessions: who is logged in where. The cookie is 256 random bits; the database has their hash, so that a copy of it
opens nothing, and a session ends wherever its row goes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from collector.access import users
from collector.access.accounts.policy import Account, Role
from collector.common.scope import decode
from collector.store import schema

DAY_MS = 86_400_000
LASTS_MS: Mapping[Role, int] = {
    "operator": 30 * DAY_MS, "desk": 14 * DAY_MS, "auditor": 14 * DAY_MS, "admin": 7 * DAY_MS,
}  # fmt: skip
HALF_LASTS_MS = 10 * 60_000  # for the second proof
SEEN_EVERY_MS = 10 * 60_000
MAX_AGENT = 200


@dataclass(frozen=True)
class WebSession:
    """A log-in. `is_full` is false while the second proof is missing."""

    id: str  # the hash of its cookie
    account: Account
    is_full: bool
    seen_ms: int


def begin(
    conn: sa.Connection, account: Account, now_ms: int, *, is_full: bool = True, address: str = "", agent: str = ""
) -> str:
    """The cookie of a new session. `address` is a group of addresses, not one."""
    token = secrets.token_urlsafe(32)
    lasts_ms = LASTS_MS[account.role] if is_full else HALF_LASTS_MS
    row = {"token_hash": id_of(token), "person": account.key, "made_ms": now_ms, "seen_ms": now_ms}
    row |= {"expires_ms": now_ms + lasts_ms, "is_full": is_full, "address": address, "agent": agent[:MAX_AGENT]}
    conn.execute(sa.delete(schema.sessions).where(schema.sessions.c.expires_ms <= now_ms))
    conn.execute(sa.insert(schema.sessions).values(row))
    if is_full:
        users.record(conn, "logged_in", account.name, now_ms, is_proven=True, reason=address)
    return token


def id_of(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def find(conn: sa.Connection, token: str, now_ms: int) -> WebSession | None:
    """The session of this cookie, with its account as the register has it now."""
    return by_id(conn, id_of(token), now_ms) if token else None


def by_id(conn: sa.Connection, session_id: str, now_ms: int) -> WebSession | None:
    table, persons = schema.sessions, schema.persons
    joined = table.join(persons, persons.c.key == table.c.person)
    columns = (table.c.is_full, table.c.seen_ms, persons.c.key, persons.c.name, persons.c.role, persons.c.scope)
    mine = (table.c.token_hash == session_id, table.c.expires_ms > now_ms, persons.c.removed_ms.is_(None))
    row = conn.execute(sa.select(*columns).select_from(joined).where(*mine)).one_or_none()
    if row is None:
        return None
    return WebSession(session_id, Account(row.name, row.role, decode(row.scope), row.key), row.is_full, row.seen_ms)


def touch(conn: sa.Connection, session: WebSession, now_ms: int) -> None:
    """It was just used."""
    mine = schema.sessions.c.token_hash == session.id
    conn.execute(sa.update(schema.sessions).where(mine).values(seen_ms=now_ms))


def listing(conn: sa.Connection, person: str, now_ms: int) -> list[sa.RowMapping]:
    """The sessions of the person with that key, the newest first."""
    table = schema.sessions
    mine = (table.c.person == person, table.c.expires_ms > now_ms, table.c.is_full)
    return list(conn.execute(sa.select(table).where(*mine).order_by(table.c.seen_ms.desc())).mappings())


def drop(conn: sa.Connection, session_id: str) -> None:
    """Logs it out."""
    conn.execute(sa.delete(schema.sessions).where(schema.sessions.c.token_hash == session_id))


def end(conn: sa.Connection, account: Account, session_id: str, by: str, now_ms: int) -> None:
    """One session of this account, if it is one."""
    mine = (schema.sessions.c.token_hash == session_id, schema.sessions.c.person == account.key)
    if conn.execute(sa.delete(schema.sessions).where(*mine)).rowcount:
        users.record(conn, "sessions_ended", by, now_ms, is_proven=True, subject=account.name, reason="1")


def end_all(conn: sa.Connection, account: Account, by: str, now_ms: int, *, but: str = "", proven: bool = True) -> int:
    """Every session of this account but that one; returns how many."""
    mine = (schema.sessions.c.person == account.key, schema.sessions.c.token_hash != but)
    number = conn.execute(sa.delete(schema.sessions).where(*mine)).rowcount
    if number:
        users.record(
            conn, "sessions_ended", by, now_ms, is_proven=proven, subject=account.name, reason=str(number)
        )  # fmt: skip
    return number
