"""The log of what people did, read back. Rows are written by `collector.access.users.record`, in the transaction that
makes the change."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from collector.access import users
from collector.store import schema

COLUMNS = ("at_ms", "act", "person", "is_proven", "subject", "center", "device", "reason")


@dataclass(frozen=True)
class ActFilter:
    """Which acts are wanted; empty fields ask for nothing. `from_ms` is the first moment, `to_ms` the first after."""

    person: str = ""
    act: str = ""
    center: str = ""
    from_ms: int | None = None
    to_ms: int | None = None
    before_id: int | None = None  # those older than that one


def page(conn: sa.Connection, wanted: ActFilter, limit: int) -> list[sa.RowMapping]:
    """The newest of them first."""
    table = schema.decisions
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.person:
        conditions.append(sa.func.lower(table.c.person) == users.key_of(wanted.person))
    conditions += [table.c[name] == value for name in ("act", "center") if (value := getattr(wanted, name))]
    conditions += [table.c.at_ms >= wanted.from_ms] if wanted.from_ms is not None else []
    conditions += [table.c.at_ms < wanted.to_ms] if wanted.to_ms is not None else []
    conditions += [table.c.id < wanted.before_id] if wanted.before_id is not None else []
    query = sa.select(table).where(*conditions).order_by(table.c.id.desc()).limit(limit)
    return list(conn.execute(query).mappings())
