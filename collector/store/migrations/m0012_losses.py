"""Accounts of lost readings say when these were taken; jumps of the collector's own clock are on record."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0012", "0011"


def upgrade() -> None:
    op.add_column("shed_readings", sa.Column("spans", sa.Text(), nullable=True))
    op.create_table(
        "clock_jumps",
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("from_ms"),
    )
