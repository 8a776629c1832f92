"""Jobs about centers are done in shards, by all processes that say they are there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0049", "0046"


def upgrade() -> None:
    op.create_table(
        "job_holders",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("holder"),
    )
    op.execute("DELETE FROM jobs WHERE name IN ('sheets', 'reports')")  # leases of whole jobs
