"""What is written into the log, in the transaction of what it speaks of. A leaf is public: it holds digests, never the
values of rows that people recorded.

    {"v": 1, "kind": "facts", "center": "LHR-1", "at_ms": …, "rows": ["base:whole", …]}
    {"v": 1, "kind": "day", "center": "LHR-1", "at_ms": …, "day": "2026-11-01", "batches": 1440, "sha256": "…"}
    {"v": 1, "kind": "records", "center": "LHR-1", "at_ms": …, "rows": ["STARTED_MS:digest", …]}
    {"v": 1, "kind": "report", "center": "LHR-1", "at_ms": …, "month": "2026-11", "revision": 1, "sha256": "…"}
    {"v": 1, "kind": "standard", "center": "", "at_ms": …, "id": "2026-1", "sha256": "…"}

Of a row that may be confirmed or withdrawn later `base` is the digest of what never changes, `whole` of all of it: the
newest leaf with a base says what the row is. Kinds in CHANGING are of that form.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from agent.common.reasons import UNREADABLE
from collector.store import bulk_insert, schema
from collector.store.journal import CHANGING as RECORDED

LeafKind = Literal[
    "facts",
    "calendar",
    "decisions",
    "disputes",
    "attachments",
    "adoptions",
    "inspections",
    "visits",
    "day",
    "records",
    "report",
    "standard",
]

DIGEST_CHARS = 32  # hex: 128 bits of a SHA-256 of each row
ROWS = 500  # of one leaf: an entry of a tile is at most 64 KiB

# Columns that may change after a row was recorded, and those that say nothing of it.
CHANGING: Mapping[LeafKind, frozenset[str]] = {
    "facts": RECORDED["facts"],
    "calendar": RECORDED["calendar"],
    "disputes": RECORDED["disputes"],
    "decisions": frozenset(),
    "attachments": frozenset(),
    "adoptions": frozenset({"adopted_ms", "adopted_by"}),
    "inspections": frozenset({"withdrawn_ms", "withdrawn_by", "withdrawn_why"}),
}
LEFT_OUT = frozenset({"id", "waits"})
UNLOGGED = frozenset(  # acts that decide nothing
    {
        "channel_tested",
        "handed_over",
        "logged_in",
        "logged_out",
        "sessions_ended",
        "test_requested",
        "push_added",
        "push_removed",
    }
)

Row = Mapping[str, Any]


def mark_of(kind: LeafKind, row: Row) -> str:
    """Pure. `base:whole` of a row, by its columns' names."""
    known = {name: value for name, value in sorted(row.items()) if name not in LEFT_OUT}
    base = {name: value for name, value in known.items() if name not in CHANGING[kind]}
    return f"{_digest(base)}:{_digest(known)}"


def _digest(values: Row) -> str:
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGEST_CHARS]


def add_rows(conn: sa.Connection, kind: LeafKind, rows: Iterable[Row], at_ms: int) -> None:
    """Rows as the table has them: that they were recorded, or are otherwise now."""
    by_center: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_center[row.get("center") or ""].append(mark_of(kind, row))
    leaves = [
        _row(kind, center, "", at_ms, {"rows": marks[first : first + ROWS]})
        for center, marks in by_center.items()
        for first in range(0, len(marks), ROWS)
    ]
    bulk_insert(conn, schema.log_leaves, leaves)


def add_changed(conn: sa.Connection, kind: LeafKind, table: sa.Table, ids: Sequence[int], at_ms: int) -> None:
    """`add_rows` of these rows, read again."""
    for first in range(0, len(ids), ROWS):
        rows = conn.execute(sa.select(table).where(table.c.id.in_(ids[first : first + ROWS])).order_by(table.c.id))
        add_rows(conn, kind, [dict(row._mapping) for row in rows], at_ms)


def add(conn: sa.Connection, kind: LeafKind, center: str, name: str, at_ms: int, **facts: object) -> None:
    bulk_insert(conn, schema.log_leaves, [_row(kind, center, name, at_ms, facts)])


def day_row(center: str, day: str, at_ms: int, batches: int, sha256: str) -> dict[str, object]:
    return _row("day", center, day, at_ms, {"day": day, "batches": batches, "sha256": sha256})


def record_rows(center: str, day: str, at_ms: int, marks: Sequence[str]) -> list[dict[str, object]]:
    """Of what measurement servers' records of a center's tests came in on a day."""
    return [_row("records", center, day, at_ms, {"rows": marks[first : first + ROWS]})
            for first in range(0, len(marks), ROWS)]  # fmt: skip


def record_mark(started_ms: int, signature: bytes) -> str:
    """Pure. When a test began, and what only its server can have signed: a record by which it is known again."""
    return f"{started_ms}:{hashlib.sha256(signature).hexdigest()[:DIGEST_CHARS]}"


def started_of(mark: str) -> int:
    """Pure. Of a record's mark; -1 where it is none."""
    started = mark.partition(":")[0]
    return int(started) if started.isdecimal() and len(started) < 16 else -1


def _row(kind: LeafKind, center: str, name: str, at_ms: int, facts: Row) -> dict[str, object]:
    body = msgspec.json.encode({"v": 1, "kind": kind, "center": center, "at_ms": at_ms, **facts})
    return {"kind": kind, "center": center, "name": name, "at_ms": at_ms, "body": body}


def marks_in(body: bytes) -> list[str]:
    """Pure. The marks of a leaf of rows; none where it is of another form."""
    try:
        content = msgspec.json.decode(body)
    except UNREADABLE:
        return []
    rows = content.get("rows") if isinstance(content, dict) else None
    return [mark for mark in rows if isinstance(mark, str)] if isinstance(rows, list) else []
