"""The rows of states have since when a center waits or is paused: those of before are made anew (`center_states.settle`)."""

from __future__ import annotations

from alembic import op

revision, down_revision = "0083", "0082"


def upgrade() -> None:
    op.execute("DELETE FROM about WHERE name = 'ranks'")
