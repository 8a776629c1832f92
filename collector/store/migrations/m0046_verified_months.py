"""How far months were found as they were signed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0046", "0044"


def upgrade() -> None:
    op.create_table(
        "verified_months",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("verified_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("center", "from_ms"),
    )
