"""Second stories are taken by one process and filed by another: when they were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0041", "0040"


def upgrade() -> None:
    op.add_column("second_stories", sa.Column("filed_ms", sa.BigInteger(), nullable=True))
    op.execute("UPDATE second_stories SET filed_ms = decided_ms WHERE state = 'taken'")
