"""Days on which a center was suspended or closed are excused: their sheets and reports are made anew."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0080", "0075"

WHY = '{"facts":1}'
PAUSED = ("suspended", "closed")
LONGEST_MONTH_MS = 31 * 86_400_000

f = sa.table("facts", *map(sa.column, ("center", "name", "value", "from_ms", "withdrawn_ms")))
c = sa.table("centers", *map(sa.column, ("center", "lifecycle")))
d = sa.table("day_sheets", *map(sa.column, ("center", "day_ms", "marks", "made_ms")))
r = sa.table(
    "reports",
    *map(sa.column, ("center", "from_ms", "revision", "opened_ms", "closed_ms", "why", "marks", "look_ms")),
)


def upgrade() -> None:
    conn, now_ms = op.get_bind(), time.time_ns() // 1_000_000
    for center, from_ms in _paused_since(conn).items():
        sheets = sa.update(d).where(d.c.center == center, d.c.day_ms >= from_ms)
        conn.execute(sheets.values(marks=d.c.marks + 1, made_ms=None))
        mine = sa.and_(r.c.center == center, r.c.from_ms > from_ms - LONGEST_MONTH_MS)
        newest = {row.from_ms: row for row in conn.execute(sa.select(r).where(mine).order_by(r.c.revision))}
        for row in newest.values():
            if row.closed_ms is not None:  # one that is open sees the sheets as they are when it is made
                values = {"revision": row.revision + 1, "opened_ms": now_ms, "why": WHY, "marks": row.marks + 1}
                conn.execute(sa.insert(r).values(center=center, from_ms=row.from_ms, look_ms=now_ms, **values))


def _paused_since(conn: sa.Connection) -> dict[str, int]:
    """By center, the first day of it that may be excused; 0 where nobody recorded a step."""
    stages = sa.select(f.c.center, f.c.value, f.c.from_ms).where(f.c.name == "lifecycle", f.c.withdrawn_ms.is_(None))
    rows = conn.execute(stages.order_by(f.c.from_ms.desc())).all()
    told = {row.center for row in rows}
    now = conn.scalars(sa.select(c.c.center).where(c.c.lifecycle.in_(PAUSED))).all()
    since = {center: 0 for center in now if center not in told}
    return since | {row.center: int(row.from_ms) for row in rows if row.value.strip('"') in PAUSED}
