"""Rows of states say since when a center waits or is paused: they are made anew (`center_states.settle`)."""

from __future__ import annotations

from alembic import op

revision, down_revision = "0083", "0082"


def upgrade() -> None:
    op.execute("DELETE FROM about WHERE name = 'ranks'")
