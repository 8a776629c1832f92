"""The database's epoch, restores, and what is lacking of each spool."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0011", "0010"


def upgrade() -> None:
    op.add_column("spools", sa.Column("lost", sa.Text(), server_default="[]", nullable=False))
    op.add_column("spools", sa.Column("lacking", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("spools", sa.Column("hole_ms", sa.BigInteger(), nullable=True))
    op.create_index("spools_by_hole", "spools", ["hole_ms"], unique=False)
    op.create_table(
        "restores",
        sa.Column("epoch", sa.String(length=32), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("epoch"),
    )
    about = sa.table("about", sa.column("name", sa.String), sa.column("value", sa.Text))
    op.get_bind().execute(sa.insert(about).values(name="epoch", value=secrets.token_hex(16)))
    _take_accounts(op.get_bind())


def _take_accounts(conn: sa.Connection) -> None:
    """What gateways have accounted for so far is nothing that they would be asked for."""
    columns = ("center", "device", "spool", "subject", "first_seq", "last_seq")
    shed = sa.table("shed_readings", *map(sa.column, columns))
    lost: dict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
    for row in conn.execute(sa.select(shed)):
        lost[row.center, row.device, row.subject or row.spool].append((row.first_seq, row.last_seq))
    spools = sa.table("spools", *map(sa.column, ("center", "device", "spool", "lost")))
    for (center, device, spool), parts in lost.items():
        mine = (spools.c.center == center) & (spools.c.device == device) & (spools.c.spool == spool)
        conn.execute(sa.update(spools).where(mine).values(lost=json.dumps(sorted(set(parts)))))
