"""Centers, the facts that hold of them from a day on, their owners, and the calendar."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Ms, metadata

centers = sa.Table(
    "centers",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False, server_default=""),
    sa.Column("building", sa.Text, nullable=False, server_default=""),
    sa.Column("city", sa.Text, nullable=False, server_default=""),
    sa.Column("district", sa.Text, nullable=False, server_default=""),
    sa.Column("province", sa.Text, nullable=False, server_default=""),
    sa.Column("tier", sa.String(8), nullable=False),  # one | two | three
    sa.Column("seats_promised", sa.Integer, nullable=False),
    sa.Column("isp", sa.Text, nullable=False, server_default=""),
    sa.Column("feeder", sa.Text, nullable=False, server_default=""),
    sa.Column("exchange", sa.Text, nullable=False, server_default=""),  # where the line of its provider ends
    sa.Column("opening", sa.Text, nullable=False),  # "Mon-Sat 09:00-21:00", see collector.register.centers
    sa.Column("latitude", sa.Float),
    sa.Column("longitude", sa.Float),
    sa.Column("contract_down_mbps", sa.Float),
    sa.Column("contract_up_mbps", sa.Float),
    sa.Column("contact", sa.Text, nullable=False, server_default=""),
    sa.Column("phone", sa.Text, nullable=False, server_default=""),
    sa.Column("cabins", sa.Integer),
    sa.Column("meeting_rooms", sa.Integer),
    sa.Column("training_rooms", sa.Integer),
    sa.Column("seat_price_rs", sa.Integer),  # a month
    sa.Column("generator_kva", sa.Float),
    sa.Column("lifecycle", sa.String(16), nullable=False),  # collector.register.columns.LIFECYCLE
    sa.Column("since_ms", Ms, nullable=False),
    sa.Column("changed_ms", Ms, nullable=False),
    sa.Index("centers_by_feeder", "feeder"),
    sa.Index("centers_by_exchange", "exchange"),
    sa.Index("centers_by_isp", "isp", "city"),
)

# What holds of a center from a day on, one row a fact; `centers` is what they come to now (collector.register.facts).
facts = sa.Table(
    "facts",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("name", sa.String(32), nullable=False),  # a column of `centers`
    sa.Column("value", sa.Text, nullable=False),  # JSON
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("recorded_ms", Ms, nullable=False),
    sa.Column("recorded_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("source", sa.String(12), nullable=False),  # collector.register.facts.FactSource
    sa.Column("import_id", sa.BigInteger),
    sa.Column("evidence", sa.Text, nullable=False, server_default="[]"),  # JSON [{name, sha256, size}, …]
    sa.Column("is_backdated", sa.Boolean, nullable=False),  # it holds once a second person has confirmed it
    sa.Column("confirmed_ms", Ms),
    sa.Column("confirmed_by", sa.Text, nullable=False, server_default=""),
    sa.Column("withdrawn_ms", Ms),
    sa.Column("withdrawn_by", sa.Text, nullable=False, server_default=""),
    sa.Column("withdrawn_why", sa.Text, nullable=False, server_default=""),
    sa.Column("waits", sa.Boolean, nullable=False),  # for its day
    sa.Index("facts_by_center", "center", "name", "from_ms"),
    sa.Index("facts_by_day", "waits", "from_ms"),
    sa.Index("facts_by_import", "import_id"),
)

# Files of facts that were imported, each of which may be taken back as a whole.
imports = sa.Table(
    "imports",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("imported_by", sa.Text, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("undone_ms", Ms),
    sa.Column("undone_by", sa.Text, nullable=False, server_default=""),
    sa.Column("undone_why", sa.Text, nullable=False, server_default=""),
)

# Parties that own centers. `key` is the name without regard to case and spaces; facts of centers name them.
owners = sa.Table(
    "owners",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("registration", sa.Text, nullable=False, server_default=""),  # of a company, or of a person
    sa.Column("contact", sa.Text, nullable=False, server_default=""),
    sa.Column("phone", sa.Text, nullable=False, server_default=""),
    sa.Column("added_ms", Ms, nullable=False),
    sa.Column("added_by", sa.Text, nullable=False),
)

# Holidays, other hours, closures, maintenance and load-shedding (collector.register.calendar).
calendar = sa.Table(
    "calendar",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(12), nullable=False),
    sa.Column("scope", sa.String(12), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("to_ms", Ms),  # exclusive; None: until another one
    sa.Column("hours", sa.Text, nullable=False),  # as opening hours are written
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_ur", sa.Text, nullable=False),
    sa.Column("is_estimated", sa.Boolean, nullable=False),  # by the moon: it holds once it is confirmed
    sa.Column("needs_second", sa.Boolean, nullable=False),
    sa.Column("recorded_ms", Ms, nullable=False),
    sa.Column("recorded_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),  # JSON [{name, sha256, size}, …]
    sa.Column("confirmed_ms", Ms),
    sa.Column("confirmed_by", sa.Text, nullable=False, server_default=""),
    sa.Column("withdrawn_ms", Ms),
    sa.Column("withdrawn_by", sa.Text, nullable=False, server_default=""),
    sa.Column("withdrawn_why", sa.Text, nullable=False, server_default=""),
    sa.Index("calendar_by_time", "from_ms"),
)
