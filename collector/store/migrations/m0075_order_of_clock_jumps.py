"""Jumps of the collector's own clock are in the order in which they were seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0075", "0073"


def upgrade() -> None:
    op.add_column("clock_jumps", sa.Column("number", sa.Integer(), server_default="0", nullable=False))
