"""UPS readings name the source of the power."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0007", "0006"


def upgrade() -> None:
    op.add_column("ups_readings", sa.Column("source", sa.Text(), nullable=True))
