"""Gateways that say by a second path that they are alive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0050", "0049"


def upgrade() -> None:
    op.create_table(
        "beacons",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_index("ix_beacons_center", "beacons", ["center"])
