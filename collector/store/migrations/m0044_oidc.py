"""Who a person is at the issuer of log-ins."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0044", "0043"


def upgrade() -> None:
    op.add_column("persons", sa.Column("oidc", sa.Text(), server_default="", nullable=False))
