"""Questions that people put to gateways, and the answers."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Device, Ms, metadata

questions = sa.Table(
    "questions",
    metadata,
    sa.Column("question", sa.String(64), primary_key=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("device", Device, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),  # collector.remote.questions.KINDS
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("asked_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("answered_ms", Ms),
    sa.Column("answer", sa.Text, nullable=False, server_default=""),
    sa.Index("questions_by_center", "center", "asked_ms"),
    sa.Index("questions_open", "answered_ms", "expires_ms"),
)
