"""The exchange that a center's line hangs on: where its provider's last mile ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0054", "0051"


def upgrade() -> None:
    for table in ("centers", "center_states"):
        op.add_column(table, sa.Column("exchange", sa.Text(), server_default="", nullable=False))
    op.create_index("centers_by_exchange", "centers", ["exchange"], unique=False)
