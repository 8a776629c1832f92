"""One row a center: its state, and what the pages search and sort by. The running collector fills it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0023", "0022"


def upgrade() -> None:
    op.create_table(
        "center_states",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("criterion", sa.String(length=64)),
        sa.Column("subject", sa.String(length=64)),
        sa.Column("reason", sa.Text()),
        sa.Column("verdict", sa.String(length=16)),
        sa.Column("memory", sa.Text()),
        sa.Column("value", sa.Float()),
        sa.Column("bound", sa.Float()),
        sa.Column("state_since_ms", sa.BigInteger()),
        sa.Column("open_flags", sa.Integer(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("hours_ranks", sa.String(length=24), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("name_key", "words", "opening", "owner", "city", "district", "province", "isp", "feeder")
        ),
        sa.PrimaryKeyConstraint("center"),
    )
    op.create_index("center_states_by_rank", "center_states", ["rank", "opening"], unique=False)
    op.create_index("center_states_by_province", "center_states", ["province"], unique=False)
