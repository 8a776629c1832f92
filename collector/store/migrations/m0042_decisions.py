"""How far gateways have heard that the journal of decisions goes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0042", "0041"


def upgrade() -> None:
    op.bulk_insert(sa.table("about", sa.column("name"), sa.column("value")), [{"name": "decisions", "value": "0"}])
