"""What the database and its keepers say of themselves: epoch, heartbeats, journal, copies, restores, clock jumps."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Ms, metadata

# What this database says of itself: its schema's version, and its epoch: a random name that is another after a restore.
about = sa.Table(
    "about",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

# When a part last committed something, so that a disk that takes no more is noticed where nothing else is written.
heartbeats = sa.Table(
    "heartbeats",
    metadata,
    sa.Column("part", sa.String(32), primary_key=True),
    sa.Column("at_ms", Ms, nullable=False),
)

# Processes that take readings, on any machine: when each said so last, by its own clock, when it last committed
# messages, and for what it waits how long: broker | commit, or nothing. One that stops takes its row along.
ingest_workers = sa.Table(
    "ingest_workers",
    metadata,
    sa.Column("machine", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("committed_ms", Ms),
    sa.Column("waits", sa.String(8), nullable=False, server_default=""),
    sa.Column("wait_s", sa.Float, nullable=False, server_default="0"),
)

# Copies that were restored, known by the command or by a gateway's proof: what was receipted between the newest reading
# of the copy and the restore may be lost, by our fault. Which of it, the gateways' accounts say (shed_readings).
restores = sa.Table(
    "restores",
    metadata,
    sa.Column("epoch", sa.String(32), primary_key=True),
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("to_ms", Ms, nullable=False),
    sa.Column("settled_ms", Ms),  # when what the journal had was carried out again; None: not yet
    sa.Column("confirmed_by", sa.Text, nullable=False, server_default=""),  # where there was no journal: who took it on
)

# The lines of the journal beside the database (collector.store.journal): how far it had come when this was copied.
journal = sa.Table(
    "journal",
    metadata,
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("line", sa.Text, nullable=False),
)

# Backups made and tried out: what became of each. `made_ms` is of the copy itself.
copies = sa.Table(
    "copies",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("act", sa.String(8), nullable=False),  # backup | drill
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("took_s", sa.Float, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("made_ms", Ms),
    sa.Column("size", sa.BigInteger),  # bytes
    sa.Column("is_good", sa.Boolean, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),  # JSON: agent.common.reasons.Reason
    sa.Index("copies_newest", "act", "at_ms"),
)

# When the collector's own wall clock was set, against its monotonic one: what it would have said, and what it said. By
# `number` they are in the order in which they were seen, which times that jump do not tell; 0: before it was counted.
clock_jumps = sa.Table(
    "clock_jumps",
    metadata,
    sa.Column("from_ms", Ms, primary_key=True),
    sa.Column("to_ms", Ms, nullable=False),
    sa.Column("number", sa.Integer, nullable=False, server_default="0"),
)

# Work that one process does at a time, on any machine (collector.store.jobs.leases): who, until when, and how it went.
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("holder", sa.Text, nullable=False, server_default=""),
    sa.Column("until_ms", Ms, nullable=False, server_default="0"),
    sa.Column("began_ms", Ms),  # when this holder took it
    sa.Column("done_ms", Ms),  # when a run last succeeded
    sa.Column("took_ms", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),  # since then
    sa.Column("error", sa.Text, nullable=False, server_default=""),
)

# Processes that do jobs, each as long as it says so: shards of a job are shared out among them.
job_holders = sa.Table(
    "job_holders",
    metadata,
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("until_ms", Ms, nullable=False),
)
