"""The journal of decisions, and copies with their drills."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0015", "0014"


def upgrade() -> None:
    op.create_table(
        "copies",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("act", sa.String(length=8), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("took_s", sa.Float(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("is_good", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("copies_newest", "copies", ["act", "at_ms"], unique=False)
    op.create_table(
        "journal",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("n"),
    )
    op.add_column("restores", sa.Column("settled_ms", sa.BigInteger(), nullable=True))
    op.execute("UPDATE restores SET settled_ms = to_ms")  # there was no journal to settle them by
    op.add_column("restores", sa.Column("confirmed_by", sa.Text(), server_default="", nullable=False))
