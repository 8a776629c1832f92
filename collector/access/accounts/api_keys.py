"""API keys: a program's account, with a role, a scope and an end. The database has the hash of its secret; what people
recognise a key by is its prefix, which is no secret."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from collector.access import users
from collector.access.accounts import directory
from collector.access.accounts.policy import Account, Role
from collector.access.users import PersonError
from collector.common.scope import Scope, decode
from collector.store import schema
from collector.store.journal import journaled

DAY_MS = 86_400_000
LONGEST_DAYS = 730
USED_EVERY_MS = 10 * 60_000
FORM = re.compile(r"nabz_([0-9a-f]{10})_([A-Za-z0-9_-]{43})")
MAX_NAME = 64


def add(
    conn: sa.Connection, name: str, role: Role, scope: Scope, lasts_days: int, by: str, now_ms: int, *,
    is_proven: bool = False,
) -> str:  # fmt: skip
    """The new key, shown this once. Raises PersonError."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise PersonError("bad_name", f"key {name[:40]!r}: must have a name of 1 to {MAX_NAME} letters; give one")
    if not 1 <= lasts_days <= LONGEST_DAYS:
        raise PersonError("bad_name", f"key: must end in 1 to {LONGEST_DAYS} days; give such a number")
    if role == "admin":
        raise PersonError("bad_role", "key: cannot be an admin; give it the role that its program needs")
    directory.check(role, scope)
    prefix, secret, table = secrets.token_hex(5), secrets.token_urlsafe(32), schema.api_keys
    row = {"prefix": prefix, "secret_hash": _hash(secret), "name": name, "role": role, "scope": scope.encode()}
    journaled(conn, table, prefix)
    times = {"made_ms": now_ms, "expires_ms": now_ms + lasts_days * DAY_MS}
    conn.execute(sa.insert(table).values(**row, **times, made_by=by))
    given = f"{role} {scope.encode()}"
    users.record(conn, "key_added", by, now_ms, is_proven=is_proven, subject=f"{name} {prefix}", reason=given)
    return f"nabz_{prefix}_{secret}"


def _hash(secret: str) -> str:
    """A secret has 256 random bits: there is nothing to slow down."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class ApiKey:
    """A key in use. `used_ms` is when it was last noted as used."""

    prefix: str
    account: Account
    used_ms: int | None


def find(conn: sa.Connection, key: str, now_ms: int) -> ApiKey | None:
    """None for a key that never was, has ended or was revoked."""
    match = FORM.fullmatch(key)
    row = _row(conn, match[1]) if match else None
    if match is None or row is None or not hmac.compare_digest(_hash(match[2]), row.secret_hash):
        return None
    return by_prefix(conn, match[1], now_ms)


def by_prefix(conn: sa.Connection, prefix: str, now_ms: int) -> ApiKey | None:
    """The key in use that has this prefix."""
    row = _row(conn, prefix)
    if row is None or row.revoked_ms is not None or row.expires_ms <= now_ms:
        return None
    return ApiKey(row.prefix, Account(f"{row.name} {row.prefix}", row.role, decode(row.scope)), row.used_ms)


def touch(conn: sa.Connection, prefix: str, now_ms: int) -> None:
    """It was just used."""
    table = schema.api_keys
    conn.execute(sa.update(table).where(table.c.prefix == prefix).values(used_ms=now_ms))


def revoke(conn: sa.Connection, prefix: str, by: str, now_ms: int, *, is_proven: bool = False) -> None:
    """From now on it opens nothing. Raises PersonError."""
    table, row = schema.api_keys, _row(conn, prefix)
    if row is None or row.revoked_ms is not None:
        raise PersonError("no_key", f"key {prefix[:40]!r}: is not in use; see `nabz-collector key list`")
    journaled(conn, table, prefix)
    conn.execute(sa.update(table).where(table.c.prefix == prefix).values(revoked_ms=now_ms))
    users.record(conn, "key_revoked", by, now_ms, is_proven=is_proven, subject=f"{row.name} {prefix}")


def listing(conn: sa.Connection) -> list[dict[str, object]]:
    """Every key that there ever was, the newest first, without its secret's hash."""
    rows = conn.execute(sa.select(schema.api_keys).order_by(schema.api_keys.c.made_ms.desc())).mappings()
    return [{name: value for name, value in row.items() if name != "secret_hash"} for row in rows]


def _row(conn: sa.Connection, prefix: str) -> sa.Row[tuple[object, ...]] | None:
    return conn.execute(sa.select(schema.api_keys).where(schema.api_keys.c.prefix == prefix)).one_or_none()
