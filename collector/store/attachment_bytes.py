"""Bytes of files that people give, by their SHA-256: the same bytes are kept once, whatever they were given with. They
are in the database and its copies alone: whoever has a file that an older copy lacks can give it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import sqlalchemy as sa

from collector.store import schema

_b = schema.attachment_bodies.c


def keep(conn: sa.Connection, digest: str, body: bytes) -> None:
    """Bytes that were harmed are put right."""
    conn.execute(sa.delete(schema.attachment_bodies).where(_b.sha256 == digest, _b.body != body))
    if conn.scalar(sa.select(_b.sha256).where(_b.sha256 == digest)) is None:
        conn.execute(sa.insert(schema.attachment_bodies).values(sha256=digest, body=body))


def get(conn: sa.Connection, digest: str) -> bytes | None:
    """None where this database lacks them, or has others than were given."""
    body = conn.scalar(sa.select(_b.body).where(_b.sha256 == digest))
    return None if body is None or hashlib.sha256(body).hexdigest() != digest else bytes(body)


def held(conn: sa.Connection, digests: Collection[str]) -> set[str]:
    """Those of these of which there are bytes, whatever they are."""
    return set(conn.scalars(sa.select(_b.sha256).where(_b.sha256.in_(digests)))) if digests else set()
