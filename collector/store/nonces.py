"""The collector's nonces: a batch that carries one was sent after it was issued, so its time has a lower bound."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

import sqlalchemy as sa

from collector.store import schema

ROTATE_MS = 10 * 60_000
NONCE = re.compile(r"[0-9a-f]{32}")


def current(conn: sa.Connection, now_ms: int) -> str:
    """The nonce to hand out now: 128 bits in hex, a new one every ten minutes, each remembered."""
    nonces = schema.nonces.c
    lately = nonces.issued_ms.between(now_ms - ROTATE_MS + 1, now_ms)  # none of a time when our clock was ahead
    newest = conn.scalar(sa.select(nonces.nonce).where(lately).order_by(nonces.issued_ms.desc()).limit(1))
    if newest is not None:
        return str(newest)
    fresh = secrets.token_hex(16)
    conn.execute(sa.insert(schema.nonces).values(nonce=fresh, issued_ms=now_ms))
    return fresh


def issued_ms(conn: sa.Connection, wanted: Iterable[str]) -> dict[str, int]:
    """When each of `wanted` was issued; those that were never issued are left out."""
    nonces = schema.nonces.c
    likely = sorted({nonce for nonce in wanted if NONCE.fullmatch(nonce)})
    if not likely:
        return {}
    rows = conn.execute(sa.select(nonces.nonce, nonces.issued_ms).where(nonces.nonce.in_(likely)))
    return {row.nonce: row.issued_ms for row in rows}
