"""Accounts of lost readings say when these were taken."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0012", "0011"


def upgrade() -> None:
    op.add_column("shed_readings", sa.Column("spans", sa.Text(), nullable=True))
