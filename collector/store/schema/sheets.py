"""Months as reported, the day sheets they are made from, what people decide about them, and the transparency log."""

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

# Who was given a revision of a report, so that whoever holds one that was superseded can be told.
report_recipients = sa.Table(
    "report_recipients",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("from_ms", Ms, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("person", sa.String(128), primary_key=True),
    sa.Column(
        "means", sa.String(8), primary_key=True
    ),  # `page`: fetched it; `file`: somebody (`given_by`) passed it on
    sa.Column("given_by", sa.Text, nullable=False, server_default=""),
    sa.Column("at_ms", Ms, nullable=False),  # the last time
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

# How far a center's month was found as it was signed, so that days of which nothing is stored otherwise need not be
# looked at again (collector.reports.audit.verified_days). `mac` is keyed by the collector's key: who has the database
# alone cannot write one.
verified_months = sa.Table(
    "verified_months",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("from_ms", Ms, primary_key=True),  # when the month begins in Pakistan
    sa.Column("verified_ms", Ms, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # JSON, compressed by zlib
    sa.Column("mac", sa.LargeBinary, nullable=False),
)

# Written in the transaction that each speaks of, numbered afterwards by one job. `body` is what is hashed.
log_leaves = sa.Table(
    "log_leaves",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("number", sa.BigInteger, unique=True),  # its place in the tree, from 0; None: it waits
    sa.Column("kind", sa.String(16), nullable=False),  # collector.store.journal.leaves.LeafKind
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

# What operators dispute of a month, and what was decided (collector.reports.disputes). At which moment of its window
# a test before a witness comes, only the collector knows.
disputes = sa.Table(
    "disputes",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("month", sa.String(7), nullable=False),  # 2026-11
    sa.Column("day", sa.String(10), nullable=False, server_default=""),  # 2026-11-05; empty: the whole month
    sa.Column("criterion", sa.String(64), nullable=False, server_default=""),  # empty: all of them
    sa.Column("filed_ms", Ms, nullable=False),
    sa.Column("filed_by", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),  # as the operator wrote it
    sa.Column("wants_test", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),  # collector.reports.disputes.dispute.State
    sa.Column("witness", sa.Text, nullable=False, server_default=""),  # of the test, by name
    sa.Column("test_from_ms", Ms),
    sa.Column("test_to_ms", Ms),
    sa.Column("test_by", sa.Text, nullable=False, server_default=""),  # who arranged it
    sa.Column("test_id", sa.String(64), nullable=False, server_default=""),  # of `grants`, once it has come
    sa.Column("outcome", sa.String(12), nullable=False, server_default=""),  # disputes.dispute.Outcome
    sa.Column("decided_ms", Ms),
    sa.Column("decided_by", sa.Text, nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("excused_from_ms", Ms),
    sa.Column("excused_to_ms", Ms),  # exclusive
    sa.Index("disputes_by_center", "center", "month"),
    sa.Index("disputes_by_state", "state", "filed_ms"),
)

# Files that operators give with a dispute, by their hash (collector.reports.disputes.attachments): a row says who gave
# which, the same bytes are kept once.
attachments = sa.Table(
    "attachments",
    metadata,
    sa.Column("attachment", sa.String(32), primary_key=True),
    sa.Column("dispute", sa.BigInteger, nullable=False),
    sa.Column("center", Code, nullable=False),
    sa.Column("name", sa.String(64), nullable=False),  # as whoever gave it called it, without what no file system takes
    sa.Column("kind", sa.String(8), nullable=False),  # by its content: disputes.attachments.Kind
    sa.Column("size", sa.Integer, nullable=False),  # bytes
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("added_ms", Ms, nullable=False),
    sa.Column("added_by", sa.Text, nullable=False),
    sa.Index("attachments_by_dispute", "dispute"),
    sa.Index("attachments_by_center", "center"),
)
attachment_bodies = sa.Table(
    "attachment_bodies",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

# The draft of a standard that was tried last on a page, or is being tried (collector.web.decisions.drafts): one row.
draft_trials = sa.Table(
    "draft_trials",
    metadata,
    sa.Column("name", sa.String(8), primary_key=True),
    sa.Column("holder", sa.String(32), nullable=False),  # who tries it, by a name drawn for this run
    sa.Column("until_ms", Ms, nullable=False),  # that far it is being tried, unless its process says so again
    sa.Column("draft", sa.Text, nullable=False),
    sa.Column("standard", sa.Text, nullable=False),
    sa.Column("days", sa.Integer, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("began_ms", Ms, nullable=False),
    sa.Column("share", sa.Float, nullable=False, server_default="0"),  # of the centers that are done
    sa.Column("took_ms", sa.Integer),  # None: it is not over
    sa.Column("error", sa.Text, nullable=False, server_default=""),
    sa.Column("body", sa.LargeBinary),  # JSON of audit.trial.draft.DraftTrial, compressed by zlib
)

# Versions of the standard, each proposed by one person and adopted by another; never edited (collector.acts.adoption).
adoptions = sa.Table(
    "adoptions",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),  # SHA-256 of the version's file
    sa.Column("standard", sa.String(64), nullable=False),
    sa.Column("valid_from_ms", Ms, nullable=False),
    sa.Column("proposed_ms", Ms, nullable=False),
    sa.Column("proposed_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("adopted_ms", Ms),
    sa.Column("adopted_by", sa.Text, nullable=False, server_default=""),
)

# Lists of random visits: the hash of the seed is published first, then the list is drawn (reports.inspections.draw).
visit_lists = sa.Table(
    "visit_lists",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),  # of centers to be visited
    sa.Column("seed_hash", sa.String(64), nullable=False),
    sa.Column("published_ms", Ms, nullable=False),
    sa.Column("published_by", sa.Text, nullable=False),
    sa.Column("drawn_ms", Ms),
    sa.Column("drawn_by", sa.Text, nullable=False, server_default=""),
    sa.Column("seed", sa.String(64), nullable=False, server_default=""),  # known once the list is drawn
    sa.Column(
        "weights", sa.Text, nullable=False, server_default="[]"
    ),  # JSON [[center, weight], …]: who was drawn from
    sa.Column("visits", sa.Text, nullable=False, server_default="[]"),  # JSON [center, …] in the order of the draw
)

# What an inspector saw, by the form of a version of the standard: grade E4 (collector.reports.inspections.inspection).
inspections = sa.Table(
    "inspections",
    metadata,
    sa.Column("inspection", sa.String(32), primary_key=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("visit_list", sa.String(32), nullable=False, server_default=""),  # that sent the inspector; or none
    sa.Column("standard", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),  # of the version whose form it is
    sa.Column("inspected_ms", Ms, nullable=False),
    sa.Column("recorded_ms", Ms, nullable=False),
    sa.Column("recorded_by", sa.Text, nullable=False),
    sa.Column("answers", sa.Text, nullable=False),  # JSON {item of the form: value}
    sa.Column("photos", sa.Text, nullable=False),  # JSON [{name, sha256, size}, …]
    sa.Column("remarks", sa.Text, nullable=False, server_default=""),
    sa.Column("withdrawn_ms", Ms),
    sa.Column("withdrawn_by", sa.Text, nullable=False, server_default=""),
    sa.Column("withdrawn_why", sa.Text, nullable=False, server_default=""),
    sa.Index("inspections_by_center", "center", "inspected_ms"),
)
