"""Processes that take readings, on any machine, say that they do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0061", "0060"


def upgrade() -> None:
    op.create_table(
        "ingest_workers",
        sa.Column("machine", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("committed_ms", sa.BigInteger()),
        sa.Column("waits", sa.String(8), nullable=False, server_default=""),
        sa.Column("wait_s", sa.Float(), nullable=False, server_default="0"),
    )
