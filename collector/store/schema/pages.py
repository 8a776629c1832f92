"""What the pages list: one row a center, with its state and what they search and sort by."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Ms, metadata

# Derived from `centers`, `pulse` and `flags` in the transaction that changes them (collector.store.center_states).
center_states = sa.Table(
    "center_states",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("rank", sa.Integer, nullable=False),  # place in queries.STATES, as if it were open now
    sa.Column("weight", sa.Integer, nullable=False),  # of the worst flag
    sa.Column("criterion", sa.String(64)),  # of the worst flag, as the columns up to `bound`; None: there is none
    sa.Column("subject", sa.String(64)),
    sa.Column("reason", sa.Text),
    sa.Column("verdict", sa.String(16)),
    sa.Column("memory", sa.Text),
    sa.Column("value", sa.Float),
    sa.Column("bound", sa.Float),
    sa.Column("state_since_ms", Ms),
    sa.Column("open_flags", sa.Integer, nullable=False),
    sa.Column("unknown", sa.Integer, nullable=False),  # criteria that nothing is known of
    sa.Column("hour", sa.Integer, nullable=False),  # the last of `hours_ranks`, since 1970
    sa.Column("hours_ranks", sa.String(24), nullable=False),  # the worst rank of each hour, a digit; -: not known
    sa.Column("name_key", sa.Text, nullable=False),  # in small letters
    sa.Column("words", sa.Text, nullable=False),  # what is searched, in small letters
    sa.Column("opening", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("city", sa.Text, nullable=False),
    sa.Column("district", sa.Text, nullable=False),
    sa.Column("province", sa.Text, nullable=False),
    sa.Column("isp", sa.Text, nullable=False),
    sa.Column("feeder", sa.Text, nullable=False),
    sa.Column("exchange", sa.Text, nullable=False, server_default=""),
    sa.Index("center_states_by_rank", "rank", "opening"),
    sa.Index("center_states_by_province", "province"),
)

# Filters of the list of centers that a person has kept under a name.
saved_views = sa.Table(
    "saved_views",
    metadata,
    sa.Column("person", sa.Text, primary_key=True),  # persons.key
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("query", sa.Text, nullable=False),  # of the page's address
    sa.Column("made_ms", Ms, nullable=False),
)
