"""Questions to gateways at moments that they cannot know: is this machine there now, and does it hold its key?

A question is a task with a random id; the answer is a reading of the machine itself, signed, that names it. A gateway
that was heard meanwhile and did not answer has missed it, which is a finding; one that was dark is excused: the ledger
knows of that.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from agent import wire
from agent.common.reasons import Reason, encode
from collector.speedtests import drawn
from collector.store import schema

HOURS = ("08:00-20:00",)  # in which each center has a question a day, and some a second one
ANSWER_MS = 20 * 60_000  # a round and its batch take a minute or two; more lets a bad line have its time
HEARD_MS = 3 * 60_000
FINDING = "challenge_missed"

_c, _p, _l = schema.challenges.c, schema.pulse.c, schema.latest.c
_gateways = schema.readings["gateway"].c


def ask(conn: sa.Connection, secret: bytes, now_ms: int) -> int:
    """Puts the questions that are due now; returns how many are new. Only gateways that can answer are asked."""
    own = hmac.digest(secret, b"challenges", "sha256")
    able = sa.select(_l.center).where(_l.kind == "gateway", _l.body.like('%"machine":%'))
    query = sa.select(_p.center, _p.device).where(_p.heard_ms > now_ms - HEARD_MS, _p.center.in_(able))
    devices = {row.center: row.device for row in conn.execute(query)}
    tests = drawn.due(own, devices, drawn.slots_of(now_ms, HOURS), now_ms)
    due = {"ask-" + test.test_id.removeprefix(drawn.PREFIX): test.center for test in tests}
    for name in conn.scalars(sa.select(_c.id).where(_c.id.in_(list(due)))):
        del due[name]
    rows = [
        {"id": name, "center": center, "device": devices[center], "due_ms": now_ms, "expires_ms": now_ms + ANSWER_MS,
         "state": "open"}
        for name, center in due.items()
    ]  # fmt: skip
    if rows:
        conn.execute(sa.insert(schema.challenges), rows)
    return len(rows)


def tasks(conn: sa.Connection, nonce: str, now_ms: int) -> list[wire.Task]:
    """The questions that are open, to be sent again until they are answered: the broker is a lossy wire."""
    query = sa.select(_c.id, _c.device, _c.expires_ms).where(_c.state == "open", _c.expires_ms > now_ms)
    return [
        wire.Task(v=wire.VERSION, device=row.device, id=row.id, do="probe", probe="gateway", nonce=nonce,
                  expires_ms=row.expires_ms)
        for row in conn.execute(query)
    ]  # fmt: skip


def settle(conn: sa.Connection, now_ms: int) -> list[str]:
    """What became of open questions; returns the centers that missed one."""
    rows = conn.execute(sa.select(schema.challenges).where(_c.state == "open")).all()
    missed = []
    for row in rows:
        answered_ms = _answered_ms(conn, row)
        state = "answered" if answered_ms is not None else "open"
        if state == "open" and row.expires_ms <= now_ms:
            state = "missed" if was_heard(conn, row) else "excused"
        if state == "open":
            continue
        values = {"state": state, "answered_ms": answered_ms}
        conn.execute(sa.update(schema.challenges).where(_c.id == row.id).values(values))
        if state == "missed":
            missed.append(row.center)
            _find(conn, row, now_ms)
    return missed


def _answered_ms(conn: sa.Connection, row: sa.Row[Any]) -> int | None:
    mine = sa.and_(_gateways.center == row.center, _gateways.device == row.device, _gateways.answers == row.id)
    within = _gateways.wall_ms.between(row.due_ms - HEARD_MS, row.expires_ms + HEARD_MS)
    received_ms: int | None = conn.scalar(sa.select(sa.func.min(_gateways.received_ms)).where(mine, within))
    return received_ms


def was_heard(conn: sa.Connection, row: sa.Row[Any]) -> bool:
    """Whether readings came at once both soon after the question and at the end of its time."""
    mine = sa.and_(_gateways.center == row.center, _gateways.device == row.device)
    half_ms = (row.due_ms + row.expires_ms) // 2
    spans: Sequence[tuple[int, int]] = ((row.due_ms, half_ms), (half_ms, row.expires_ms))
    return all(
        conn.scalar(
            sa.select(sa.literal(1)).where(
                mine, _gateways.wall_ms.between(*span), _gateways.received_ms <= row.expires_ms
            ).limit(1)
        )
        for span in spans
    )  # fmt: skip


def _find(conn: sa.Connection, row: sa.Row[Any], now_ms: int) -> None:
    detail = Reason.of("challenge.missed", id=row.id, begin=drawn.moment(row.due_ms), end=drawn.moment(row.expires_ms))
    about = {"at_ms": now_ms, "center": row.center, "device": row.device, "finding": FINDING}
    conn.execute(sa.insert(schema.integrity).values(**about, detail=encode(detail)))
