"""Tests that only their server reports, where gateways were seen, challenges, and what it all comes to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0022", "0021"


def upgrade() -> None:
    op.add_column("records", sa.Column("sampled_ms", sa.BigInteger()))
    op.create_index("records_by_time", "records", ["started_ms"])
    op.create_index("records_to_sample", "records", ["sampled_ms", "received_ms"])
