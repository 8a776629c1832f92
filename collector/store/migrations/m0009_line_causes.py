"""Causes of a line, its path MTU and its names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0009", "0008"


def upgrade() -> None:
    op.add_column("link_readings", sa.Column("causes", sa.Text(), nullable=True))
    op.add_column("link_readings", sa.Column("path_mtu_bytes", sa.BigInteger(), nullable=True))
    op.add_column("link_readings", sa.Column("names_ms", sa.Float(), nullable=True))
    op.add_column("link_readings", sa.Column("names_failed_pct", sa.Float(), nullable=True))
    op.add_column("link_readings", sa.Column("names_by", sa.Text(), nullable=True))
    op.add_column("link_readings", sa.Column("names_silent", sa.Text(), nullable=True))
