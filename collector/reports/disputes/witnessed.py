"""Tests before a witness: of the window that was agreed only the collector knows the moment, drawn from its secret."""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa

from collector.reports.disputes.dispute import Dispute
from collector.speedtests import drawn, requests
from collector.store import schema

PREFIX = "witnessed-"
TAIL_MS = 45 * 60_000  # of a window is left for the test itself: its turn, the test, its batch

_d, _g = schema.disputes.c, schema.grants.c


def new_id() -> str:
    return PREFIX + secrets.token_hex(16)


def moment_ms(secret: bytes, test_id: str, from_ms: int, to_ms: int) -> int:
    """Pure. When the test is due."""
    length_ms = max(0, to_ms - from_ms - TAIL_MS)
    return from_ms + round(length_ms * drawn.share(secret, "witnessed", test_id))


def is_waiting(conn: sa.Connection, now_ms: int) -> bool:
    """Whether the window of any test is running; asked without a writer's lock."""
    return conn.execute(sa.select(_d.id).where(*_running(now_ms)).limit(1)).first() is not None


def _running(now_ms: int) -> tuple[sa.ColumnElement[bool], ...]:
    return _d.state == "test", _d.test_from_ms <= now_ms, _d.test_to_ms > now_ms


def draw(conn: sa.Connection, secret: bytes, now_ms: int) -> list[str]:
    """Asks for the tests that are due; returns their centers. A center that is dark then has what is left of its
    window."""
    query = sa.select(_d.center, _d.test_id, _d.test_from_ms, _d.test_to_ms).where(*_running(now_ms))
    rows = conn.execute(query).all()
    due = {
        row.test_id: row for row in rows if moment_ms(secret, row.test_id, row.test_from_ms, row.test_to_ms) <= now_ms
    }
    known = set(conn.scalars(sa.select(_g.test_id).where(_g.test_id.in_(list(due))))) if due else set()
    return [
        row.center
        for test_id, row in due.items()
        if test_id not in known and requests.ask_witnessed(conn, row.center, test_id, row.test_to_ms, now_ms)
    ]


def result(conn: sa.Connection, dispute: Dispute) -> Any:
    """The turn of a dispute's test with its figures, as `requests.by_id`; None before it has come."""
    return requests.by_id(conn, dispute.test_id) if dispute.test_id else None
