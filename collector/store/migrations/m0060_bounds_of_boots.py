"""What batches show of a boot that never synchronises, so that it is dated the same in whatever order they come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0060", "0055"


def upgrade() -> None:
    op.add_column("boots", sa.Column("floor_ms", sa.BigInteger(), nullable=True))
    op.add_column("boots", sa.Column("limit_ms", sa.BigInteger(), nullable=True))
    op.add_column("boots", sa.Column("claim_ms", sa.BigInteger(), nullable=True))
    op.add_column("boots", sa.Column("last_ms", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("boots", sa.Column("firsts", sa.Text(), server_default="{}", nullable=False))
    op.execute("UPDATE boots SET limit_ms = ahead_ms")  # as late as they could be
