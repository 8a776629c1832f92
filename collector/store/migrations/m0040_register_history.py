"""Every fact of a center holds from a day, recorded by a person; imports can be taken back; a calendar; day sheets."""

from __future__ import annotations

import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0040", "0020"

DAY_MS, UTC_AHEAD_MS = 86_400_000, 5 * 3_600_000
DATED = ("tier", "seats_promised", "isp", "opening")
TIMES = ("center", "since_ms", "changed_ms")
Row = dict[str, Any]


def upgrade() -> None:
    _tables()
    _calendar()
    _sheets()
    _columns()
    conn = op.get_bind()
    facts = sa.Table("facts", sa.MetaData(), autoload_with=conn)
    now_ms = time.time_ns() // 1_000_000
    rows = [row for center in _centers(conn) for row in _facts(*center, now_ms)]
    for first in range(0, len(rows), 1000):
        conn.execute(sa.insert(facts), rows[first : first + 1000])
    op.drop_table("center_facts")


def _centers(conn: sa.Connection) -> Iterator[tuple[Row, list[Row], int]]:
    """(the row of a center, its dated facts, when it was registered) as far as the tables of before tell."""
    past: dict[str, list[Row]] = defaultdict(list)
    for row in conn.execute(sa.text("SELECT * FROM center_facts ORDER BY center, from_ms")):
        past[row.center].append(dict(row._mapping))
    query = "SELECT center, min(enrolled_ms) AS first_ms FROM devices GROUP BY center"
    enrolled = {row.center: int(row.first_ms) for row in conn.execute(sa.text(query))}
    for row in conn.execute(sa.text("SELECT * FROM centers ORDER BY center")):
        first_ms = min(row.since_ms, enrolled.get(row.center, row.since_ms))
        day_ms = first_ms - (first_ms + UTC_AHEAD_MS) % DAY_MS
        known = [item["from_ms"] for item in past[row.center] if item["from_ms"]]
        registered_ms = 0 if known and min(known) <= day_ms else max(0, day_ms)
        yield dict(row._mapping), past[row.center], registered_ms


def _facts(center: Row, past: list[Row], registered_ms: int, now_ms: int) -> Iterator[Row]:
    """What the columns say, from the center's registration on; and each dated change, by who recorded it."""
    code = center["center"]
    first = {**center, **({name: past[0][name] for name in DATED} if past else {})}
    for name, value in first.items():
        if name not in TIMES and value not in ("", None):
            yield _row(code, name, value, registered_ms, now_ms, "migrated")
    for before, after in itertools.pairwise(past):
        for name in DATED:
            if before[name] != after[name]:
                row = _row(code, name, after[name], after["from_ms"], after["recorded_ms"], "import")
                late = after["recorded_ms"] - after["from_ms"] >= DAY_MS
                confirmed = {"is_backdated": late, "confirmed_ms": after["recorded_ms"] if late else None}
                yield row | confirmed | {"recorded_by": after["recorded_by"], "waits": bool(after["waits"])}


def _row(code: str, name: str, value: object, from_ms: int, recorded_ms: int, source: str) -> Row:
    return {
        "center": code, "name": name, "value": json.dumps(value, ensure_ascii=False), "from_ms": from_ms,
        "recorded_ms": recorded_ms, "recorded_by": "", "reason": "", "source": source, "is_backdated": False,
        "confirmed_ms": None, "waits": False,
    }  # fmt: skip


def _id() -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("id", kind, autoincrement=True, nullable=False)


def _text(name: str, **more: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, **more)


def _ms(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _tables() -> None:
    op.create_table(
        "facts",
        _id(),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        _text("value"),
        _ms("from_ms"),
        _ms("recorded_ms"),
        _text("recorded_by"),
        _text("reason"),
        sa.Column("source", sa.String(length=12), nullable=False),
        _ms("import_id", nullable=True),
        _text("evidence", server_default="[]"),
        sa.Column("is_backdated", sa.Boolean(), nullable=False),
        _ms("confirmed_ms", nullable=True),
        _text("confirmed_by", server_default=""),
        _ms("withdrawn_ms", nullable=True),
        _text("withdrawn_by", server_default=""),
        _text("withdrawn_why", server_default=""),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("facts_by_center", "facts", ["center", "name", "from_ms"], unique=False)
    op.create_index("facts_by_day", "facts", ["waits", "from_ms"], unique=False)
    op.create_index("facts_by_import", "facts", ["import_id"], unique=False)
    op.create_table(
        "imports",
        _id(),
        _ms("at_ms"),
        _text("imported_by"),
        _text("file"),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        _ms("from_ms"),
        _text("reason"),
        _ms("undone_ms", nullable=True),
        _text("undone_by", server_default=""),
        _text("undone_why", server_default=""),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "owners",
        _text("key"),
        _text("name"),
        _text("registration", server_default=""),
        _text("contact", server_default=""),
        _text("phone", server_default=""),
        _ms("added_ms"),
        _text("added_by"),
        sa.PrimaryKeyConstraint("key"),
    )


def _calendar() -> None:
    op.create_table(
        "calendar",
        _id(),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("scope", sa.String(length=12), nullable=False),
        _text("subject"),
        _ms("from_ms"),
        _ms("to_ms", nullable=True),
        *(_text(name) for name in ("hours", "name", "name_ur")),
        sa.Column("is_estimated", sa.Boolean(), nullable=False),
        sa.Column("needs_second", sa.Boolean(), nullable=False),
        _ms("recorded_ms"),
        *(_text(name) for name in ("recorded_by", "reason", "evidence")),
        _ms("confirmed_ms", nullable=True),
        _text("confirmed_by", server_default=""),
        _ms("withdrawn_ms", nullable=True),
        _text("withdrawn_by", server_default=""),
        _text("withdrawn_why", server_default=""),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("calendar_by_time", "calendar", ["from_ms"], unique=False)


def _sheets() -> None:
    op.create_table(
        "day_sheets",
        sa.Column("center", sa.String(length=32), nullable=False),
        _ms("day_ms"),
        sa.Column("marks", sa.Integer(), nullable=False),
        _ms("made_ms", nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("center", "day_ms"),
    )
    op.create_index("day_sheets_due", "day_sheets", ["made_ms", "day_ms"], unique=False)


def _columns() -> None:
    for name in ("contract_down_mbps", "contract_up_mbps", "generator_kva"):
        op.add_column("centers", sa.Column(name, sa.Float(), nullable=True))
    for name in ("contact", "phone"):
        op.add_column("centers", _text(name, server_default=""))
    for name in ("cabins", "meeting_rooms", "training_rooms", "seat_price_rs"):
        op.add_column("centers", sa.Column(name, sa.Integer(), nullable=True))
