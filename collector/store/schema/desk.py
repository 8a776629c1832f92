"""Incidents, what became of them, and the messages about them."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Ms, metadata

# One cause, one or many flags, one owner. What it is about is its `scope` and `place`: a center's code, a feeder, a
# provider and its city, a district …; `family` says what kind of trouble it is (collector.desk.symptoms).
incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("family", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # collector.desk.incident.State
    sa.Column("waiting_for", sa.String(16), nullable=False, server_default=""),
    sa.Column("owner", sa.Text, nullable=False, server_default=""),
    sa.Column("severity", sa.String(8), nullable=False),
    sa.Column("unstable_ms", Ms),  # since when it comes and goes; None: it does not
    sa.Column("began_ms", Ms, nullable=False),
    sa.Column("opened_ms", Ms, nullable=False),
    sa.Column("changed_ms", Ms, nullable=False),  # when a member last joined or left
    sa.Column("resolved_ms", Ms),
    sa.Column("ack_until_ms", Ms),
    sa.Column("snoozed_until_ms", Ms),
    sa.Column("hold_ms", Ms, nullable=False, server_default="0"),  # until when others like it are waited for
    sa.Column("merged_into", sa.BigInteger),
    sa.Column("cause", sa.Text, nullable=False, server_default=""),  # JSON: collector.desk.causes.LikelyCause
    sa.Column("cause_by", sa.Text, nullable=False, server_default=""),  # who set it by hand
    sa.Column("centers", sa.Integer, nullable=False),  # in trouble now
    sa.Column("most", sa.Integer, nullable=False),  # at once
    sa.Column("announced", sa.Integer, nullable=False),  # as the last message had it
    sa.Column("announced_ms", Ms, nullable=False),
    sa.Index("incidents_by_state", "state", "opened_ms"),
    sa.Index("incidents_by_place", "scope", "place"),
)

# The flags of an incident, and centers that only show the same signs (their criterion is ""): from when until when.
incident_members = sa.Table(
    "incident_members",
    metadata,
    sa.Column("incident", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("center", Code, primary_key=True),
    sa.Column("criterion", sa.String(64), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("joined_ms", Ms, primary_key=True),
    sa.Column("left_ms", Ms),
    sa.Column("severity", sa.String(8), nullable=False),
    sa.Index("incident_members_by_center", "center", "left_ms"),
)

# What became of an incident and who did it; rows are only added. Those that people are told of are the alert queue.
incident_events = sa.Table(
    "incident_events",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("incident", sa.BigInteger, nullable=False),
    sa.Column("act", sa.String(16), nullable=False),  # collector.desk.incident.Act
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("recorded_ms", Ms, nullable=False),
    sa.Column("person", sa.Text, nullable=False, server_default=""),  # empty: evidence did it
    sa.Column("text", sa.Text, nullable=False, server_default=""),  # as the person wrote it
    sa.Column("detail", sa.Text, nullable=False, server_default=""),  # JSON: agent.common.reasons.Reason
    sa.Column("change", sa.BigInteger),  # of a flag, that brought it about
    sa.Column("queued_ms", Ms),  # None: no alert has been made of it yet; 0: none is
    sa.Column("routed_ms", Ms, server_default="0"),  # the same for messages to persons (collector.desk.routing)
    sa.Index("incident_events_by_incident", "incident", "id"),
    sa.Index("incident_events_to_queue", "queued_ms", "id"),
    sa.Index("incident_events_to_route", "routed_ms", "id"),
)

# Criteria that centers will miss in the running month if they go on as in their last days (collector.desk.risk.rows).
month_risks = sa.Table(
    "month_risks",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("criterion", sa.String(64), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("month_ms", Ms, nullable=False),
    sa.Column("days_left", sa.Integer, nullable=False),
    sa.Column("met_pct", sa.Float, nullable=False),
    sa.Column("recent_pct", sa.Float, nullable=False),
    sa.Column("asked_pct", sa.Float, nullable=False),
    sa.Column("made_ms", Ms, nullable=False),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column(
        "kind", sa.String(8), nullable=False, server_default="change"
    ),  # change | summary | person | digest | test
    sa.Column("change", sa.BigInteger),  # None: no change of a flag brought it about
    sa.Column("event", sa.BigInteger),  # of an incident; None: of a program before incidents
    sa.Column("center", Code, nullable=False),
    sa.Column("channel", sa.String(64), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),  # waiting | sending | sent | failed | unsure | held | summed
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_ms", Ms, nullable=False),
    sa.Column("sent_ms", Ms),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
    sa.Column("made_ms", Ms, nullable=False, server_default="0"),
    sa.Column("person", sa.Text, nullable=False, server_default=""),  # empty: to whoever the channel's address reaches
    sa.Column("address", sa.Text, nullable=False, server_default=""),  # of the person
    sa.Column("why", sa.Text, nullable=False, server_default=""),  # JSON: the reason why this person is told
    sa.Column("facts", sa.Text, nullable=False, server_default=""),  # JSON, for channels that programs read
    sa.Index("alerts_due", "state", "next_ms"),
    sa.Index("alerts_by_event", "event", "channel", "person", unique=True),
    sa.Index("alerts_by_person", "person", "id"),
)

# How the channels of alerts do: one that fails again and again is left alone for a while.
channels = sa.Table(
    "channels",
    metadata,
    sa.Column("channel", sa.String(64), primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),  # in a row
    sa.Column("until_ms", Ms),  # when it is tried again; None: it works
    sa.Column("sent_ms", Ms),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
)
