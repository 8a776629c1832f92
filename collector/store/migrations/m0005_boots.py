"""Clocks of gateways by boot, and the readings they may still move."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0005", "0004"


def upgrade() -> None:
    op.create_table(
        "boots",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("boot", sa.String(length=64), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("ahead_ms", sa.BigInteger(), nullable=False),
        sa.Column("sure", sa.Boolean(), nullable=False),
        sa.Column("noted_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", "boot"),
    )
    op.create_index("ix_boots_noted_ms", "boots", ["noted_ms"], unique=False)
    op.create_table(
        "guesses",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("boot", sa.String(length=64), nullable=False),
        sa.Column("spool", sa.String(length=64), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("readings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("device", "boot", "spool", "first_seq"),
    )
    op.create_index("ix_guesses_received_ms", "guesses", ["received_ms"], unique=False)
