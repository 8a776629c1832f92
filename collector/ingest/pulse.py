"""When each center was heard: one row a center, as the sweep for the silent asks for it; and what it hears itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from agent.common.center_time import CENTER_TIME
from agent.wire import CenterStanding, Stamp
from collector.store import center_states, schema, warm

STANDING_MS = 15 * 60_000  # after which a gateway is told again how its center stands
TOLD = frozenset({"below", "watch", "unknown", "meets", "paused"})  # states that a gateway that is heard can be in


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


class Standings:
    """How centers stand, for the receipts of their gateways: when it has changed, else every `STANDING_MS`."""

    def __init__(self) -> None:
        self._sent: dict[str, tuple[int, str, str, int]] = {}

    def due(self, conn: sa.Connection, codes: Collection[str], now_ms: int) -> dict[str, CenterStanding]:
        """Of those of these centers that are to hear it now. What is sent is to be told by `mark_sent`, once it is
        committed: a transaction that is rolled back sends nothing."""
        states = center_states.standings(conn, codes) if codes else {}
        due = {code: known for code, known in states.items() if known[0] in TOLD and self._is_due(code, known, now_ms)}
        missed = _missed(conn, due, now_ms) if due else {}
        return {
            code: CenterStanding(state=state, criterion=criterion, since_ms=since_ms, missed=missed.get(code, 0))
            for code, (state, criterion, since_ms) in due.items()
        }

    def mark_sent(self, standings: Mapping[str, CenterStanding], now_ms: int) -> None:
        self._sent |= {code: (now_ms, one.state, one.criterion, one.since_ms) for code, one in standings.items()}

    def _is_due(self, code: str, known: tuple[str, str, int], now_ms: int) -> bool:
        sent_ms, *sent = self._sent.get(code, (0, "", "", 0))
        return tuple(sent) != known or not 0 <= now_ms - sent_ms < STANDING_MS


def _missed(conn: sa.Connection, codes: Collection[str], now_ms: int) -> dict[str, int]:
    """How often a criterion was missed in the running month, by center."""
    local = datetime.fromtimestamp(now_ms / 1000, CENTER_TIME)
    month_ms = int(local.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
    c = schema.changes.c
    mine = (c.center.in_(sorted(codes)), c.now == "raised", c.at_ms >= month_ms)
    query = sa.select(c.center, sa.func.count()).where(*mine).group_by(c.center)
    return {str(row[0]): int(row[1]) for row in conn.execute(query)}
