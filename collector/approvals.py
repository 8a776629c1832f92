"""The second person: where policy asks for one, a gateway waits until somebody else than the token's maker lets it in.

Names are what people give on the command line; they are recorded, not proven: whoever may write the database is
trusted.
"""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa

from collector.store import schema

MAX_NAME, MAX_REASON = 64, 500
Decision = Literal["approved", "refused"]


class ApprovalError(Exception):
    """A decision cannot be taken; one sentence with the thing, the rule and the fix."""


def named(name: str) -> str:
    """A person's name as it is recorded. Raises ApprovalError."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise ApprovalError(f"--by {name[:40]!r}: must be a name of 1 to {MAX_NAME} letters; give yours")
    return name


def note_token(conn: sa.Connection, token_hash: str, center: str, made_by: str, now_ms: int) -> None:
    row = {"token_hash": token_hash, "center": center, "made_by": made_by, "made_ms": now_ms, "state": "issued"}
    conn.execute(sa.insert(schema.enrolments).values(row))


def ask(
    conn: sa.Connection, token_hash: str, device: str, hostname: str, now_ms: int
) -> sa.Row[tuple[object, ...]] | None:
    """The row of this token, which waits from now on if it did not before; None for a token without a maker."""
    table = schema.enrolments
    mine = table.c.token_hash == token_hash
    asked = {"state": "waiting", "device": device, "hostname": hostname, "asked_ms": now_ms}
    conn.execute(sa.update(table).where(mine, table.c.state == "issued").values(asked))
    return conn.execute(sa.select(table).where(mine)).one_or_none()


def waiting(conn: sa.Connection) -> list[dict[str, object]]:
    """Who waits, the longest first."""
    table = schema.enrolments
    rows = conn.execute(sa.select(table).where(table.c.state == "waiting").order_by(table.c.asked_ms))
    return [{name: value for name, value in row._mapping.items() if name != "token_hash"} for row in rows]


def decide(conn: sa.Connection, device: str, decision: Decision, by: str, now_ms: int, reason: str = "") -> None:
    """Lets a waiting gateway in, or not. Raises ApprovalError; the maker of the token cannot approve it."""
    by, table = named(by), schema.enrolments
    query = sa.select(table).where(table.c.device == device, table.c.state == "waiting").order_by(table.c.asked_ms)
    row = conn.execute(query).first()
    if row is None:
        raise ApprovalError(f"gateway {device[:40]!r}: does not wait; see `nabz-collector enrolment list`")
    if decision == "approved" and by.casefold() == row.made_by.casefold():
        raise ApprovalError(f"gateway {device}: {row.made_by} made its token; another person must approve it")
    decided = {"state": decision, "decided_by": by, "decided_ms": now_ms, "reason": reason[:MAX_REASON]}
    conn.execute(sa.update(table).where(table.c.token_hash == row.token_hash).values(decided))
