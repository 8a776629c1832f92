"""Marks by which ingest notices that others have changed what it remembers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0032", "0031"


def upgrade() -> None:
    op.add_column("pulse", sa.Column("generation", sa.BigInteger(), nullable=True))
    op.create_table(
        "generations",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("center"),
    )
