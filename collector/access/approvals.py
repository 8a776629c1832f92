"""The second person: where the policy requires one, a gateway waits for approval by another than the token's maker.

`collector.access.users` says how far names are proven.
"""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa

from collector.access import users
from collector.access.users import PersonError
from collector.common.scope import EVERYWHERE, Scope
from collector.store import queries, schema
from collector.store.journal import journaled

MAX_REASON = 500
Decision = Literal["approved", "refused"]


def note_token(
    conn: sa.Connection, token_hash: str, center: str, made_by: str, now_ms: int, *, proof: str = ""
) -> None:
    """A token without a maker enrols nobody where a second person is required. Raises PersonError."""
    is_proven = bool(made_by) and users.check(conn, made_by, proof, "issue")
    row = {"token_hash": token_hash, "center": center, "made_by": made_by, "made_ms": now_ms, "state": "issued"}
    conn.execute(sa.insert(schema.enrolments).values(**row, made_proven=is_proven))
    if made_by:
        users.record(conn, "issued", made_by, now_ms, is_proven=is_proven, center=center)


def maker_of(conn: sa.Connection, token_hash: str) -> str:
    """Who made a token; empty where that is not known."""
    made_by = schema.enrolments.c.made_by
    return conn.scalar(sa.select(made_by).where(schema.enrolments.c.token_hash == token_hash)) or ""


def request_approval(
    conn: sa.Connection, token_hash: str, device: str, key_hash: str, hostname: str, now_ms: int
) -> sa.Row[tuple[object, ...]] | None:
    """The row of this token, which waits from now on if it did not before; None for a token without a maker.

    `key_hash` is the SHA-256 of the gateway's public key, in hex.
    """
    table = schema.enrolments
    mine = table.c.token_hash == token_hash
    pending = {"state": "waiting", "device": device, "key_hash": key_hash, "hostname": hostname, "asked_ms": now_ms}
    conn.execute(sa.update(table).where(mine, table.c.state == "issued").values(pending))
    return conn.execute(sa.select(table).where(mine)).one_or_none()


def waiting(conn: sa.Connection, scope: Scope = EVERYWHERE) -> list[dict[str, object]]:
    """Those waiting at centers in the scope, the longest first."""
    table = schema.enrolments
    mine = (table.c.state == "waiting", *_within(table, scope))
    rows = conn.execute(sa.select(table).where(*mine).order_by(table.c.asked_ms))
    return [{name: value for name, value in row._mapping.items() if name != "token_hash"} for row in rows]


def number_waiting(conn: sa.Connection, scope: Scope = EVERYWHERE) -> int:
    table = schema.enrolments
    mine = (table.c.state == "waiting", *_within(table, scope))
    return conn.scalar(sa.select(sa.func.count()).select_from(table).where(*mine)) or 0


def _within(table: sa.Table, scope: Scope) -> list[sa.ColumnElement[bool]]:
    """Rows about centers in the scope."""
    codes = sa.select(schema.centers.c.center).where(*queries.within(schema.centers, scope))
    return [] if scope.is_all else [table.c.center.in_(codes)]


def decided(conn: sa.Connection, most: int, scope: Scope = EVERYWHERE) -> list[sa.RowMapping]:
    """The newest decisions about gateways of centers in the scope."""
    table = schema.decisions
    about_gateways = (table.c.act.in_(("approved", "refused")), *_within(table, scope))
    return list(
        conn.execute(sa.select(table).where(*about_gateways).order_by(table.c.id.desc()).limit(most)).mappings()
    )


def decide(
    conn: sa.Connection, device: str, decision: Decision, by: str, now_ms: int, reason: str = "", *, proof: str = "",
    center: str = "",
) -> None:  # fmt: skip
    """Lets a waiting gateway in, or not. Raises PersonError; the maker of the token cannot approve it.

    `proof` is of `users.prove`; without one the name counts only where nobody was ever registered.
    """
    by, table = users.named(by), schema.enrolments
    is_proven = users.check(conn, by, proof, "approve")
    row = _waiting_one(conn, device, center)
    if decision == "approved":
        _check_maker(row, by, is_proven=is_proven)
    reason = reason[:MAX_REASON]
    values = {"state": decision, "decided_by": by, "decided_ms": now_ms, "reason": reason}
    conn.execute(sa.update(table).where(table.c.token_hash == row.token_hash).values(values))
    journaled(conn, table, row.token_hash)
    about = {"center": row.center, "device": row.device, "key_hash": row.key_hash, "reason": reason}
    users.record(conn, decision, by, now_ms, is_proven=is_proven, **about)


def _waiting_one(conn: sa.Connection, device: str, center: str) -> sa.Row[tuple[object, ...]]:
    """The row that a decision is about: one gateway may request with tokens of several centers."""
    table = schema.enrolments
    mine = sa.and_(table.c.device == device, table.c.state == "waiting")
    rows = conn.execute(sa.select(table).where(mine).order_by(table.c.asked_ms)).all()
    rows = [row for row in rows if center in ("", row.center)]
    if not rows:
        raise PersonError("not_waiting", f"gateway {device[:40]!r}: does not wait; see `nabz-collector enrolment list`")
    if len({row.center for row in rows}) > 1:
        pending = ", ".join(sorted({row.center for row in rows}))
        raise PersonError("which_center", f"gateway {device}: waits for {pending}; add `--center CODE`")
    return rows[0]


def _check_maker(row: sa.Row[tuple[object, ...]], by: str, *, is_proven: bool) -> None:
    if users.key_of(by) == users.key_of(row.made_by):
        raise PersonError(
            "own_token", f"gateway {row.device}: {row.made_by} made its token; another person must approve it"
        )
    if is_proven and not row.made_proven:
        why = f"{row.made_by}, who made its token, is not proven"
        raise PersonError("maker_not_proven", f"gateway {row.device}: {why}; refuse it, and give it a new token")
