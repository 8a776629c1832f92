"""Records of measurement servers are leaves of the log by the day of their receipt."""

from __future__ import annotations

from alembic import op

revision, down_revision = "0066", "0061"


def upgrade() -> None:
    op.create_index("records_by_receipt", "records", ["received_ms"])
