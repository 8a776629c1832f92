"""Settings of gateways that are made here: each version of each layer, and what every gateway reports of them."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Device, Ms, metadata

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
)
