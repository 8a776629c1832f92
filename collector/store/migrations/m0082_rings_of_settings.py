"""Settings go from ring to ring: what each gateway was sent last, and which versions go to all at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0082", "0080"


def upgrade() -> None:
    op.add_column("device_settings", sa.Column("sent", sa.String(64), server_default="", nullable=False))
    op.add_column("remote_settings", sa.Column("at_once", sa.Boolean(), server_default=sa.false(), nullable=False))
