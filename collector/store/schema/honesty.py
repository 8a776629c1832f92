"""Where gateways were seen, what they were asked unannounced, and what a month's findings come to."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Device, Ms, metadata

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
