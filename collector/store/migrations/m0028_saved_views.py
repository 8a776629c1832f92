"""Filters of the list of centers that people keep under a name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0028", "0026"


def upgrade() -> None:
    op.create_table(
        "saved_views",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person", "name"),
    )
