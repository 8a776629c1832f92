"""Gateways: how they were let in, their certificates and keys, their boots, spools and settings."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Device, Ms, metadata

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("issued_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("used_ms", Ms),
    sa.Column("device", Device),
    sa.Column("replaces", sa.Boolean, nullable=False, server_default=sa.false()),  # the center's gateways so far
)

# One row a token: who made it, and what became of the gateway that came with it.
enrolments = sa.Table(
    "enrolments",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("made_ms", Ms, nullable=False),
    sa.Column("made_proven", sa.Boolean, nullable=False, server_default=sa.false()),  # the maker gave a passphrase
    sa.Column("state", sa.String(12), nullable=False),  # issued | waiting | approved | refused
    sa.Column("device", Device, nullable=False, server_default=""),
    sa.Column("key_hash", sa.String(64), nullable=False, server_default=""),  # SHA-256 of its public key
    sa.Column("hostname", sa.Text, nullable=False, server_default=""),
    sa.Column("asked_ms", Ms),
    sa.Column("decided_by", sa.Text, nullable=False, server_default=""),
    sa.Column("decided_ms", Ms),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Index("enrolments_waiting", "state", "asked_ms"),
)

# Certificates given to gateways: what a renewal is compared with, and what a revocation list names.
certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("serial", sa.String(40), primary_key=True),
    sa.Column("device", Device, nullable=False),
    sa.Column("key_hash", sa.String(64), nullable=False),  # SHA-256 of the TLS key's SubjectPublicKeyInfo
    sa.Column("issued_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("pem", sa.Text, nullable=False),
    sa.Index("certificates_by_device", "device", "issued_ms"),
)

# Why and by whom a device was revoked; `devices.revoked_ms` is what decides.
revocations = sa.Table(
    "revocations",
    metadata,
    sa.Column("device", Device, primary_key=True),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("revoked_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

devices = sa.Table(
    "devices",
    metadata,
    sa.Column("device", Device, primary_key=True),
    sa.Column("center", Code, nullable=False, index=True),
    sa.Column("public_key", sa.LargeBinary, nullable=False),
    sa.Column("enrolled_ms", Ms, nullable=False),
    sa.Column("revoked_ms", Ms),
    sa.Column("hostname", sa.Text, nullable=False, server_default=""),
    sa.Column("version", sa.Text, nullable=False, server_default=""),
)

# What each gateway said last by its second path: that it is alive while its line is down. No reading, and no proof.
beacons = sa.Table(
    "beacons",
    metadata,
    sa.Column("device", Device, primary_key=True),
    sa.Column("center", Code, nullable=False, index=True),
    sa.Column("at_s", sa.BigInteger, nullable=False),  # by its own clock, in seconds: the next one must be later
    sa.Column("received_ms", Ms, nullable=False),
    sa.Column("path", sa.String(8), nullable=False),  # line | sms
    # A gateway whose clock is wrong: the time of its last such beacon, and how far that was ahead (negative: behind).
    sa.Column("off_at_s", sa.BigInteger),
    sa.Column("off_s", sa.BigInteger),
)

nonces = sa.Table(
    "nonces",
    metadata,
    sa.Column("nonce", sa.String(64), primary_key=True),
    sa.Column("issued_ms", Ms, nullable=False),
)

# How far UTC is ahead of each boot's monotonic clock, as well as it is known; `sure` if a synchronised clock said so.
# What its batches show of one that is not (OffsetBounds of collector.ingest.times.event_time), and the first of its
# readings in each spool, JSON {spool: [number, monotonic time]}.
boots = sa.Table(
    "boots",
    metadata,
    sa.Column("device", Device, primary_key=True),
    sa.Column("boot", sa.String(64), primary_key=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("ahead_ms", Ms, nullable=False),
    sa.Column("sure", sa.Boolean, nullable=False),
    sa.Column("noted_ms", Ms, nullable=False, index=True),
    sa.Column("floor_ms", Ms),
    sa.Column("limit_ms", Ms),
    sa.Column("claim_ms", Ms),
    sa.Column("last_ms", Ms, nullable=False, server_default="0"),
    sa.Column("firsts", sa.Text, nullable=False, server_default="{}"),
)

# Readings filed before a synchronised clock of their boot dated them: `readings` is JSON [[kind, subject, number,
# monotonic time, time filed under], …]. They go when the boot is sure, or when nobody hopes for that any more.
guesses = sa.Table(
    "guesses",
    metadata,
    sa.Column("device", Device, primary_key=True),
    sa.Column("boot", sa.String(64), primary_key=True),
    sa.Column("spool", sa.String(64), primary_key=True),
    sa.Column("first_seq", sa.BigInteger, primary_key=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("received_ms", Ms, nullable=False, index=True),
    sa.Column("readings", sa.Text, nullable=False),
    sa.Column("from_ms", Ms, nullable=False, server_default="0"),  # they were not taken before
)

# What is held of each spool: `ranges` is JSON [[first, last, chain before, chain after], …], ascending, disjoint.
spools = sa.Table(
    "spools",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("device", Device, primary_key=True),
    sa.Column("spool", sa.String(64), primary_key=True),
    sa.Column("ranges", sa.Text, nullable=False),
    sa.Column("duplicates", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("updated_ms", Ms, nullable=False),
    sa.Column("lost", sa.Text, nullable=False, server_default="[]"),  # JSON [[first, last], …]: its gateway's accounts
    sa.Column("lacking", sa.BigInteger, nullable=False, server_default="0"),  # numbers neither held nor lost
    sa.Column("hole_ms", Ms),  # since when they are no fewer; NULL when there are none, or that was found
    sa.Column("disputed", sa.Boolean, nullable=False, server_default=sa.false()),  # see second_stories
    # JSON [[number, ms], …]: what is numbered after was not taken before (collector.ingest.spools)
    sa.Column("marks", sa.Text, nullable=False, server_default="[]"),
    sa.Index("spools_by_hole", "hole_ms"),
)

# What a gateway's name signed besides what is held of a spool: other readings under the same numbers, or after another
# chain. The batches are in `evidence`, with nothing `fresh`; none of it counts until a person has taken it.
second_stories = sa.Table(
    "second_stories",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("device", Device, primary_key=True),
    sa.Column("spool", sa.String(64), primary_key=True),
    sa.Column("first_ms", Ms, nullable=False),  # when the first and the last batch of it came
    sa.Column("last_ms", Ms, nullable=False),
    sa.Column("batches", sa.Integer, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),  # held | taken | refused
    sa.Column("decided_ms", Ms),
    sa.Column("decided_by", sa.Text, nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("filed_ms", Ms),  # when the readings of one that is taken were filed; NULL: they are due
)

# One row a change: what the layer says from then on. Rows are only added.
remote_settings = sa.Table(
    "remote_settings",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("layer", sa.String(12), nullable=False),  # country | province | tier | center
    sa.Column("name", sa.Text, nullable=False),  # of the province, tier or center; empty for the country
    sa.Column("tables", sa.Text, nullable=False),  # JSON: table -> key -> value
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at_once", sa.Boolean, nullable=False, server_default=sa.false()),  # to all, not from ring to ring
    sa.Index("remote_settings_by_layer", "layer", "name", "id"),
)

# What each gateway said last of the settings that it runs with (wire.SettingsReport).
device_settings = sa.Table(
    "device_settings",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("device", Device, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("state", sa.String(64), nullable=False),
    sa.Column("failed", sa.String(64), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("at_ms", Ms, nullable=False),  # since when it says so
    sa.Column("fetches", sa.Boolean, nullable=False, server_default=sa.false()),  # takes orders to fetch a file
    sa.Column("sent", sa.String(64), nullable=False, server_default=""),  # the digest that we sent last
)

# Questions that people put to gateways, and the answers.
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
