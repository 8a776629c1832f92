"""Months as reported, and the day sheets they are made from."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Ms, metadata

# Months as they were reported, whole, so that a report outlives its readings. A month is reported when it is over; what
# changes it afterwards opens its next revision, in the transaction of the change (collector.reports.revisions).
reports = sa.Table(
    "reports",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("from_ms", Ms, primary_key=True),  # when the month begins in Pakistan
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("opened_ms", Ms, nullable=False),
    sa.Column("why", sa.Text, nullable=False),  # JSON: collector.reports.revisions.Why
    sa.Column("marks", sa.Integer, nullable=False),  # how often its cause grew: a report made meanwhile does not count
    sa.Column("look_ms", Ms, index=True),  # when it is to be made; None: it is closed
    sa.Column("closed_ms", Ms),
    sa.Column("changed", sa.Text, nullable=False, server_default="{}"),  # JSON: what the revision before said otherwise
    sa.Column("sha256", sa.String(64), nullable=False, server_default=""),  # of the report's JSON
    sa.Column("body", sa.LargeBinary),  # that JSON, compressed by zlib
    sa.Index("reports_by_time", "from_ms"),
)

# What each day says of each center (collector.reports.day_store). `made_ms` None: it is due, or due again.
day_sheets = sa.Table(
    "day_sheets",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("day_ms", Ms, primary_key=True),  # when it begins in Pakistan
    sa.Column("marks", sa.Integer, nullable=False),  # how often its day was touched
    sa.Column("made_ms", Ms),
    sa.Column("body", sa.LargeBinary),  # JSON, compressed by zlib
    sa.Index("day_sheets_due", "made_ms", "day_ms"),
)
