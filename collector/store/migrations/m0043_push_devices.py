"""Devices on which a person turned on messages by Web Push."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0043", "0042"


def upgrade() -> None:
    op.create_table(
        "push_devices",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("public_key", sa.String(length=100), nullable=False),
        sa.Column("auth", sa.String(length=40), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("push_devices_by_person", "push_devices", ["person"], unique=False)
