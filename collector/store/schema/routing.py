"""Who is sent which message when: routes, escalation plans, rotas; what was sent of digests, links and maintenance."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Ms, metadata

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# Which incidents go by which escalation plan; every route that fits applies (collector.desk.routing.routes).
routes = sa.Table(
    "routes",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("scope", sa.Text, nullable=False),  # JSON: collector.common.scope.Scope
    sa.Column("severity", sa.String(8), nullable=False),  # the least
    sa.Column("families", sa.Text, nullable=False, server_default=""),  # separated by spaces; empty: every one
    sa.Column("hours", sa.Text, nullable=False, server_default=""),  # as opening hours; empty: at any time
    sa.Column("lang", sa.String(8), nullable=False, server_default=""),  # empty: each person's own
    sa.Column("plan", sa.String(64), nullable=False),
    sa.Column("changed_ms", Ms, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
)

# Escalation plans, step by step: after which time without an acknowledgement who is told, by which channels.
plan_steps = sa.Table(
    "plan_steps",
    metadata,
    sa.Column("plan", sa.String(64), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("after_s", sa.BigInteger, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("via", sa.Text, nullable=False, server_default=""),
    sa.Column("changed_ms", Ms, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
)

# Who is on duty: members take turns of equal length. Several rotas may have one name, each with a scope of its own.
rotas = sa.Table(
    "rotas",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("members", sa.Text, nullable=False),  # JSON: names of accounts, in order
    sa.Column("from_ms", Ms, nullable=False),  # when the first member's first turn begins
    sa.Column("turn_s", sa.BigInteger, nullable=False),
    sa.Column("hours", sa.Text, nullable=False),
    sa.Column("on_holidays", sa.Boolean, nullable=False),
    sa.Column("changed_ms", Ms, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
)

rota_overrides = sa.Table(
    "rota_overrides",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("rota", sa.BigInteger, nullable=False, index=True),
    sa.Column("person", sa.Text, nullable=False),  # empty: nobody is on duty
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("to_ms", Ms, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("recorded_ms", Ms, nullable=False),
    sa.Column("recorded_by", sa.Text, nullable=False),
)

# The next step of each route for an incident, from when its escalation began. `done_ms` None: it is still to come.
escalations = sa.Table(
    "escalations",
    metadata,
    sa.Column("incident", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("route", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("armed_ms", Ms, primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("due_ms", Ms, nullable=False),
    sa.Column("done_ms", Ms),
    sa.Index("escalations_due", "done_ms", "due_ms"),
)

# Digests that were made, so that each is sent once.
digests = sa.Table(
    "digests",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("person", sa.String(200), primary_key=True),
    sa.Column("due_ms", Ms, primary_key=True),
    sa.Column("made_ms", Ms, nullable=False),
)

# One-time links in messages, each for one person and one incident; only the hash of its secret is kept.
links = sa.Table(
    "links",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("incident", sa.BigInteger, nullable=False, index=True),
    sa.Column("person", sa.String(200), nullable=False),
    sa.Column("made_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("used_ms", Ms),
)

# Planned work of which people are not told, or told as usual: once, or again by a rule of RFC 5545.
windows = sa.Table(
    "windows",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("scope", sa.String(16), nullable=False),  # center | feeder | provider | district
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("mode", sa.String(8), nullable=False),  # skip | mute | run
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("to_ms", Ms, nullable=False),
    sa.Column("rule", sa.Text, nullable=False, server_default=""),  # RRULE; empty: once
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("recorded_ms", Ms, nullable=False),
    sa.Column("recorded_by", sa.Text, nullable=False),
    sa.Column("ended_ms", Ms),
    sa.Column("ended_by", sa.Text, nullable=False, server_default=""),
)
