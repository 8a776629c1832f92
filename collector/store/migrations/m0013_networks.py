"""Whose network each test came from, as measurement servers signed it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0013", "0012"


def upgrade() -> None:
    op.add_column("records", sa.Column("asn", sa.BigInteger(), nullable=True))
    op.add_column("records", sa.Column("network", sa.Text(), nullable=True))
    op.add_column("records", sa.Column("server_asn", sa.BigInteger(), nullable=True))
