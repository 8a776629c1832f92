"""Disputes, adoptions of standards, lists of visits, inspections."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0031", "0030"


def upgrade() -> None:
    op.create_table(
        "adoptions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("standard", sa.String(length=64), nullable=False),
        sa.Column("valid_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("proposed_ms", sa.BigInteger(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("adopted_ms", sa.BigInteger(), nullable=True),
        sa.Column("adopted_by", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "disputes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("day", sa.String(length=10), server_default="", nullable=False),
        sa.Column("criterion", sa.String(length=64), server_default="", nullable=False),
        sa.Column("filed_ms", sa.BigInteger(), nullable=False),
        sa.Column("filed_by", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("wants_test", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("witness", sa.Text(), server_default="", nullable=False),
        sa.Column("test_from_ms", sa.BigInteger(), nullable=True),
        sa.Column("test_to_ms", sa.BigInteger(), nullable=True),
        sa.Column("test_by", sa.Text(), server_default="", nullable=False),
        sa.Column("test_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("outcome", sa.String(length=12), server_default="", nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("excused_from_ms", sa.BigInteger(), nullable=True),
        sa.Column("excused_to_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("disputes_by_center", "disputes", ["center", "month"], unique=False)
    op.create_index("disputes_by_state", "disputes", ["state", "filed_ms"], unique=False)
    op.create_table(
        "inspections",
        sa.Column("inspection", sa.String(length=32), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("visit_list", sa.String(length=32), server_default="", nullable=False),
        sa.Column("standard", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("inspected_ms", sa.BigInteger(), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("answers", sa.Text(), nullable=False),
        sa.Column("photos", sa.Text(), nullable=False),
        sa.Column("remarks", sa.Text(), server_default="", nullable=False),
        sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn_by", sa.Text(), server_default="", nullable=False),
        sa.Column("withdrawn_why", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("inspection"),
    )
    op.create_index("inspections_by_center", "inspections", ["center", "inspected_ms"], unique=False)
    op.create_table(
        "visit_lists",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("seed_hash", sa.String(length=64), nullable=False),
        sa.Column("published_ms", sa.BigInteger(), nullable=False),
        sa.Column("published_by", sa.Text(), nullable=False),
        sa.Column("drawn_ms", sa.BigInteger(), nullable=True),
        sa.Column("drawn_by", sa.Text(), server_default="", nullable=False),
        sa.Column("seed", sa.String(length=64), server_default="", nullable=False),
        sa.Column("weights", sa.Text(), server_default="[]", nullable=False),
        sa.Column("visits", sa.Text(), server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
