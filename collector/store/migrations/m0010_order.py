"""Cuts are computed again from the readings of a center; its pulse tells more: first heard, backlog, clock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0010", "0009"


def upgrade() -> None:
    for name in ("first_ms", "backlog_ms", "clock_ms"):
        op.add_column("pulse", sa.Column(name, sa.BigInteger(), nullable=True))
    op.create_index("ups_by_center", "ups_readings", ["center", "wall_ms"], unique=False)
