"""Measurement servers, turns at them, and what they saw."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Device, Ms, metadata

# Where gateways may test their speed. `public_key` proves what a server says it saw; None: it cannot sign.
measure_servers = sa.Table(
    "measure_servers",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("public_key", sa.LargeBinary),
    sa.Column("place", sa.Text, nullable=False, server_default=""),
    sa.Column("tests_at_once", sa.Integer, nullable=False),
    sa.Column("joined_ms", Ms, nullable=False),
    sa.Column("revoked_ms", Ms),
)

# Turns at a measurement server: wished for by a gateway, by the desk or by a miss, given by the collector in order.
grants = sa.Table(
    "grants",
    metadata,
    sa.Column("test_id", sa.String(64), primary_key=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("device", Device, nullable=False),
    sa.Column("server", sa.String(64), nullable=False),
    sa.Column("purpose", sa.String(16), nullable=False),  # wire.Purpose
    sa.Column("slot", sa.Text, nullable=False, server_default=""),
    sa.Column("asked_ms", Ms, nullable=False),
    sa.Column("granted_ms", Ms),
    sa.Column("expires_ms", Ms, nullable=False),  # while asked: how long it is wanted; once granted: how long it holds
    sa.Column("closed_ms", Ms),
    sa.Column("expected_bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("state", sa.String(12), nullable=False),  # asked | granted | done | expired | refused
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Index("grants_open", "state", "server"),
    sa.Index("grants_by_center", "center", "asked_ms"),
    sa.Index("grants_by_device", "device", "asked_ms"),
    sa.Index("grants_closed", "closed_ms"),
)

# Words with which one measurement server joins, once. Its row in `measure_servers` is made when it does.
server_tokens = sa.Table(
    "server_tokens",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("place", sa.Text, nullable=False, server_default=""),
    sa.Column("tests_at_once", sa.Integer, nullable=False),
    sa.Column("issued_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("used_ms", Ms),
)

# What measurement servers saw, as they signed it, and the figures drawn from it (collector.judging.server_check).
records = sa.Table(
    "records",
    metadata,
    sa.Column("test_id", sa.String(64), primary_key=True),
    sa.Column("server", sa.String(64), nullable=False),
    sa.Column("device", Device, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("started_ms", Ms, nullable=False),
    sa.Column("received_ms", Ms, nullable=False),
    sa.Column("witnessed", sa.Boolean, nullable=False),
    sa.Column("min_rtt_ms", sa.Float),
    sa.Column("down_mbps", sa.Float),
    sa.Column("up_mbps", sa.Float),
    sa.Column("down_bytes", sa.BigInteger, nullable=False),
    sa.Column("up_bytes", sa.BigInteger, nullable=False),
    sa.Column("down_s", sa.Float, nullable=False),
    sa.Column("up_s", sa.Float, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    sa.Column("asn", sa.BigInteger),
    sa.Column("network", sa.Text),
    sa.Column("server_asn", sa.BigInteger),
    sa.Column("sampled_ms", Ms),  # when it was seen whether a reading speaks for it; None: not yet
    sa.Index("records_by_time", "started_ms"),
    sa.Index("records_by_receipt", "received_ms"),
    sa.Index("records_to_sample", "sampled_ms", "received_ms"),
)
