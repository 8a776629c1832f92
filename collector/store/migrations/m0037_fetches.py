"""Files that gateways fetch at moments that they cannot know, and which gateways can."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0037", "0035"


def upgrade() -> None:
    op.create_table(
        "fetches",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("part_bytes", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=True),
        sa.Column("down_mbps", sa.Float(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("fetched_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("fetches_open", "fetches", ["state", "due_ms"], unique=False)
    op.create_index("fetches_by_center", "fetches", ["center", "due_ms"], unique=False)
    op.add_column("device_settings", sa.Column("fetches", sa.Boolean(), server_default=sa.false(), nullable=False))
