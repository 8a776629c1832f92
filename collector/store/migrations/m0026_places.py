"""When a spool's readings can have been taken, where gateways were seen, challenges, and the score of each month."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0026", "0025"


def upgrade() -> None:
    op.add_column("spools", sa.Column("marks", sa.Text(), server_default="[]", nullable=False))
    op.add_column("guesses", sa.Column("from_ms", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "sightings",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=12), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("asn", sa.BigInteger(), nullable=True),
        sa.Column("network", sa.Text(), nullable=True),
        sa.Column("rtt_ms", sa.Float(), nullable=True),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("center", "device", "source", "address"),
    )
    op.create_index("sightings_by_address", "sightings", ["address", "last_ms"], unique=False)
    op.create_table(
        "challenges",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("challenges_open", "challenges", ["state", "due_ms"], unique=False)
    op.create_index("challenges_by_center", "challenges", ["center", "due_ms"], unique=False)
    op.create_table(
        "scores",
        sa.Column("center", sa.String(length=32), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("rules", sa.String(length=64), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("center", "month"),
    )
    for name in ("machine", "router", "hardware", "answers"):
        op.add_column("gateway_readings", sa.Column(name, sa.Text(), nullable=True))
