"""When each center was heard: one row a center, as the sweep for the silent asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from agent.wire import Stamp
from collector.store import schema, warm


def clock_of(stamps: Sequence[Stamp], now_ms: int) -> int | None:
    """How far a gateway's synchronised clock is from ours (milliseconds), by the last reading of a live batch: less
    than nothing by as long as the batch was under way. None: its clock is not synchronised."""
    return stamps[-1].wall_ms - now_ms if stamps and stamps[-1].clock == "synced" else None


def record(conn: sa.Connection, rows: Sequence[dict[str, object]]) -> None:
    """Rows of {center, device, heard_ms, due_ms, backlog_ms, clock_ms}; None: what is known stands. A time before the
    last one moves nothing: it is evidence that is taken in again."""
    if rows:
        generation = warm.generation(conn, [str(row["center"]) for row in rows])
        more = [{**row, "first_ms": row["heard_ms"], "generation": generation} for row in rows]
        conn.execute(_upsert(conn.dialect.name), more)


@lru_cache
def _upsert(dialect: str) -> sa.Insert:
    table = schema.pulse
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    new = insert.excluded
    kept = {name: sa.func.coalesce(new[name], table.c[name]) for name in ("backlog_ms", "clock_ms")}
    changed = {name: new[name] for name in ("device", "heard_ms", "due_ms")} | kept
    is_newer = table.c.heard_ms <= new.heard_ms
    values = {name: sa.case((is_newer, value), else_=table.c[name]) for name, value in changed.items()}
    return insert.on_conflict_do_update(index_elements=["center"], set_=values | {"generation": new.generation})
