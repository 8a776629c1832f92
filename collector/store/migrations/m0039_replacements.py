"""A token may be for a gateway that replaces others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0039", "0038"


def upgrade() -> None:
    op.add_column("tokens", sa.Column("replaces", sa.Boolean(), server_default=sa.false(), nullable=False))
