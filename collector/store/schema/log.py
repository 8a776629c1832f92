"""The transparency log: its leaves, the hashes over them, and the heads that were signed (collector.log)."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Ms, metadata

# Written in the transaction that each speaks of, numbered afterwards by one job. `body` is what is hashed.
log_leaves = sa.Table(
    "log_leaves",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("number", sa.BigInteger, unique=True),  # its place in the tree, from 0; None: it waits
    sa.Column("kind", sa.String(16), nullable=False),  # collector.log.leaves.LeafKind
    sa.Column("center", Code, nullable=False),
    sa.Column("name", sa.String(64), nullable=False),  # of what it speaks: a day, a month, a standard; or empty
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("log_leaves_by_center", "center", "kind", "name"),
)

# Up to 256 hashes of 32 bytes, one after the other (C2SP tlog-tiles); of level 0 over leaves.
log_tiles = sa.Table(
    "log_tiles",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True),
    sa.Column("tile", sa.BigInteger, primary_key=True),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)

# Each head that was signed, as a signed note with the cosignatures that came.
log_checkpoints = sa.Table(
    "log_checkpoints",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)
