"""Gateways say which release runs, and which failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0034", "0032"


def upgrade() -> None:
    for name in ("release", "failed_release", "failed_why"):
        op.add_column("gateway_readings", sa.Column(name, sa.Text(), nullable=True))
