"""Beacons of gateways whose clock is wrong are taken within bounds, each once, beside those of right clocks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0073", "0066"


def upgrade() -> None:
    op.add_column("beacons", sa.Column("off_at_s", sa.BigInteger(), nullable=True))
    op.add_column("beacons", sa.Column("off_s", sa.BigInteger(), nullable=True))
