"""What of the past lies in the archive's files, and in which (collector.store.archive)."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Device, Ms, metadata

# The files of one part: what came of some centers on one day. `day_ms` is when it began in Pakistan.
archive_parts = sa.Table(
    "archive_parts",
    metadata,
    sa.Column("part", sa.String(64), primary_key=True),
    sa.Column("day_ms", Ms, nullable=False),
    sa.Column("made_ms", Ms, nullable=False),
    sa.Column("files", sa.Text, nullable=False),  # JSON: collector.store.cold.parts.Files
    sa.Column("centers", sa.Integer, nullable=False),  # in its files; of one taken out again there is no row below
    sa.Column("removed_ms", Ms),  # its files are to go, or are gone
    sa.Index("archive_parts_by_day", "day_ms"),
)

# One row a center, day, spool and part: readings `first_seq` to `last_seq` (others may lie between), filed under times
# from `from_ms` to `to_ms`, ends included (NULL: nothing was filed).
archived = sa.Table(
    "archived",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("day_ms", Ms, primary_key=True),
    sa.Column("device", Device, primary_key=True),
    sa.Column("spool", sa.String(64), primary_key=True),
    sa.Column("part", sa.String(64), primary_key=True),
    sa.Column("first_seq", sa.BigInteger, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("from_ms", Ms),
    sa.Column("to_ms", Ms),
    sa.Column("batches", sa.Integer, nullable=False),
    sa.Column("readings", sa.Integer, nullable=False),
    sa.Index("archived_by_time", "center", "to_ms"),
    sa.Index("archived_by_seq", "device", "spool", "first_seq"),
    sa.Index("archived_by_part", "part"),
)
