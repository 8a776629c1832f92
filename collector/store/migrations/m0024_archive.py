"""What of the past lies in the archive's files, and in which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0024", "0023"


def upgrade() -> None:
    op.create_table(
        "archive_parts",
        sa.Column("part", sa.String(length=64), nullable=False),
        sa.Column("day_ms", sa.BigInteger(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("centers", sa.Integer(), nullable=False),
        sa.Column("removed_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("part"),
    )
    op.create_index("archive_parts_by_day", "archive_parts", ["day_ms"], unique=False)
    op.create_table(
        "archived",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("day_ms", sa.BigInteger(), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("part", sa.String(length=64), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=True),
        sa.Column("to_ms", sa.BigInteger(), nullable=True),
        sa.Column("batches", sa.Integer(), nullable=False),
        sa.Column("readings", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("center", "day_ms", "device", "spool", "part"),
    )
    op.create_index("archived_by_part", "archived", ["part"], unique=False)
    op.create_index("archived_by_seq", "archived", ["device", "spool", "first_seq"], unique=False)
    op.create_index("archived_by_time", "archived", ["center", "to_ms"], unique=False)
