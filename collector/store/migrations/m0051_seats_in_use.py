"""Seats in use and what they say of themselves, as counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0051", "0050"


def upgrade() -> None:
    op.add_column("seats_days", sa.Column("in_use_sum", sa.Float(), nullable=True))
    op.add_column("seats_days", sa.Column("in_use_n", sa.Float(), nullable=True))
    op.add_column("seats_hours", sa.Column("in_use_sum", sa.Float(), nullable=True))
    op.add_column("seats_hours", sa.Column("in_use_n", sa.Float(), nullable=True))
    op.add_column("seats_readings", sa.Column("in_use", sa.BigInteger(), nullable=True))
    op.add_column("seats_readings", sa.Column("facts", sa.Text(), nullable=True))
