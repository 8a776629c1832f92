"""Months at risk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0035", "0034"


def upgrade() -> None:
    op.create_table(
        "month_risks",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("criterion", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("month_ms", sa.BigInteger(), nullable=False),
        sa.Column("days_left", sa.Integer(), nullable=False),
        sa.Column("met_pct", sa.Float(), nullable=False),
        sa.Column("recent_pct", sa.Float(), nullable=False),
        sa.Column("asked_pct", sa.Float(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("center", "criterion", "subject"),
    )
