"""Files that operators give with a dispute, and drafts of a standard that were tried on a page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0055", "0054"


def upgrade() -> None:
    op.create_table(
        "attachments",
        sa.Column("attachment", sa.String(32), primary_key=True),
        sa.Column("dispute", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
    )
    op.create_index("attachments_by_dispute", "attachments", ["dispute"])
    op.create_index("attachments_by_center", "attachments", ["center"])
    op.create_table(
        "attachment_bodies",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "draft_trials",
        sa.Column("name", sa.String(8), primary_key=True),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("draft", sa.Text(), nullable=False),
        sa.Column("standard", sa.Text(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("began_ms", sa.BigInteger(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False, server_default="0"),
        sa.Column("took_ms", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False, server_default=""),
        sa.Column("body", sa.LargeBinary(), nullable=True),
    )
