"""What was received as it was signed, what was set aside, and what is found about honesty."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Device, Ms, metadata

# Batches as received: `body` is the signed bytes, `fresh` JSON [[first, last], …] the readings this batch brought.
evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("device", Device, nullable=False),
    sa.Column("spool", sa.String(64), nullable=False),
    sa.Column("first_seq", sa.BigInteger, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("fresh", sa.Text, nullable=False),
    sa.Column("received_ms", Ms, nullable=False),
    sa.Column("issued_ms", Ms),  # when the nonce it carries was issued: it was sent after that
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    # A key of PostgreSQL's partitioned tables must hold what they are parted by.
    sa.PrimaryKeyConstraint("id").ddl_if(dialect="sqlite"),
    sa.UniqueConstraint("id", "received_ms", name="evidence_id_received_ms_key").ddl_if(dialect="postgresql"),
    sa.Index("evidence_by_seq", "device", "spool", "first_seq"),
    postgresql_partition_by="RANGE (received_ms)",
)

set_aside = sa.Table(
    "set_aside",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("received_ms", Ms, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),  # JSON: agent.common.reasons.Reason
    sa.Column("payload", sa.LargeBinary, nullable=False),
)

# What is filed of each gateway for one day (collector.store.quotas): JSON {kind: readings} and {kind: [subject, …]},
# and the bytes that came on that day. `day_ms` is its beginning in UTC.
tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("device", Device, primary_key=True),
    sa.Column("day_ms", Ms, primary_key=True),
    sa.Column("counts", sa.Text, nullable=False),
    sa.Column("subjects", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Index("tallies_by_day", "day_ms"),
)

# Findings about honesty, never about service: equivocation, fork, bad_signature, unknown_device, wrong_topic …
integrity = sa.Table(
    "integrity",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("center", Code, nullable=False, server_default=""),
    sa.Column("device", Device, nullable=False, server_default=""),
    sa.Column("finding", sa.String(32), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),  # JSON: agent.common.reasons.Reason
    sa.Index("integrity_recent", "finding", "device", "at_ms"),
)

# From which addresses each gateway was seen, by what: its speed tests, its sessions, its enrolment
# (collector.judging.places).
sightings = sa.Table(
    "sightings",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("device", Device, primary_key=True),
    sa.Column("source", sa.String(12), primary_key=True),  # test | session | enrolment
    sa.Column("address", sa.String(45), primary_key=True),
    sa.Column("asn", sa.BigInteger),
    sa.Column("network", sa.Text),
    sa.Column("rtt_ms", sa.Float),  # the shortest round trip seen
    sa.Column("first_ms", Ms, nullable=False),
    sa.Column("last_ms", Ms, nullable=False),
    sa.Index("sightings_by_address", "address", "last_ms"),
)

# Files that gateways were to fetch at moments that they could not know, and how fast they came
# (collector.speedtests.fetches).
fetches = sa.Table(
    "fetches",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # admits to the file
    sa.Column("center", Code, nullable=False),
    sa.Column("device", Device, nullable=False),
    sa.Column("due_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("parts", sa.Integer, nullable=False),
    sa.Column("part_bytes", sa.Integer, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),  # open | fetched | missed | excused
    sa.Column("address", sa.String(45)),
    sa.Column("down_mbps", sa.Float),
    sa.Column("seconds", sa.Float),
    sa.Column("fetched_ms", Ms),
    sa.Index("fetches_open", "state", "due_ms"),
    sa.Index("fetches_by_center", "center", "due_ms"),
)

# Questions to a gateway at moments that it cannot know: it answers with a reading that carries the id.
challenges = sa.Table(
    "challenges",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("device", Device, nullable=False),
    sa.Column("sent_ms", Ms),
    sa.Column("due_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("answered_ms", Ms),
    sa.Column("state", sa.String(12), nullable=False),  # open | answered | missed | excused
    sa.Index("challenges_open", "state", "due_ms"),
    sa.Index("challenges_by_center", "center", "due_ms"),
)

# The integrity score of each center and month: `rules` is the digest of the weights, `reasons` JSON.
scores = sa.Table(
    "scores",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("month", sa.String(7), primary_key=True),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("reasons", sa.Text, nullable=False),
    sa.Column("rules", sa.String(64), nullable=False),
    sa.Column("made_ms", Ms, nullable=False),
)
