"""What the evidence comes to: newest readings, silence, flags and their changes, gaps and cuts."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Device, Ms, metadata

# The newest reading of each kind and subject, whole.
latest = sa.Table(
    "latest",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("device", Device, nullable=False),
    sa.Column("wall_ms", Ms, nullable=False),
    sa.Column("received_ms", Ms, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

# One row a center: when it was last heard and when its silence becomes a matter. The sweep asks one indexed question.
pulse = sa.Table(
    "pulse",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("device", Device, nullable=False),
    sa.Column("heard_ms", Ms, nullable=False),
    sa.Column("due_ms", Ms, index=True),  # None: its silence has been judged already
    sa.Column("first_ms", Ms),  # when it was first heard; None: not known
    sa.Column("backlog_ms", Ms),  # when readings last came that had been kept
    sa.Column("clock_ms", Ms),  # its synchronised clock less ours, by its last live batch; None: not known
    sa.Column("generation", sa.BigInteger),  # of what ingest last changed of it (collector.store.warm)
)

# Another random number whenever somebody else than ingest has changed what ingest remembers of a center; "*" is all.
generations = sa.Table(
    "generations",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
)

flags = sa.Table(
    "flags",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("criterion", sa.String(64), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(12), nullable=False),  # clear | pending | raised | recovering
    sa.Column("since_ms", Ms, nullable=False),  # of the state
    sa.Column("judged_until_ms", Ms, nullable=False),  # readings older than this move nothing (promise P5)
    sa.Column("memory", sa.Text, nullable=False),  # JSON: the last verdicts a for-duration or M-of-N rule needs
    sa.Column("verdict", sa.String(16), nullable=False),  # meets | below | unknown
    sa.Column("value", sa.Float),
    sa.Column("bound", sa.Float),
    sa.Column("reason", sa.Text, nullable=False),  # JSON: agent.common.reasons.Reason
    sa.Column("standard", sa.String(64), nullable=False),
    sa.Index("flags_raised", "state", "since_ms"),
)

# A flag's state moved. Written in the transaction of the reading that moved it; this row is the alert queue.
changes = sa.Table(
    "changes",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("center", Code, nullable=False, index=True),
    sa.Column("criterion", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(64), nullable=False),
    sa.Column("was", sa.String(12), nullable=False),
    sa.Column("now", sa.String(12), nullable=False),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("recorded_ms", Ms, nullable=False),
    sa.Column("value", sa.Float),
    sa.Column("bound", sa.Float),
    sa.Column("reason", sa.Text, nullable=False),  # JSON: agent.common.reasons.Reason
    sa.Column("standard", sa.String(64), nullable=False),
    sa.Column("queued_ms", Ms),  # None: no alert has been made of it yet
    sa.Index("changes_to_queue", "queued_ms", "id"),
)

# Times in which a center was not heard, by the collector's clock, and why. The center "*" is the collector itself. A
# cause that later evidence changes is a new revision; while it stands, `facts` and `evidence` grow in place.
gaps = sa.Table(
    "gaps",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("from_ms", Ms, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("to_ms", Ms, nullable=False),
    sa.Column("cause", sa.String(16), nullable=False),
    sa.Column("grade", sa.String(16), nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),  # JSON: reasons that name readings and centers
    sa.Column("facts", sa.Text, nullable=False),  # JSON: collector.judging.flags.cause.Facts
    sa.Column("witness", sa.Text, nullable=False),  # JSON: collector.judging.flags.cause.NeighbourWitness
    sa.Column("recorded_ms", Ms, nullable=False),
    sa.Column("look_ms", Ms, index=True),  # when neighbours are asked once more; None: they have been
)

# Cuts of the mains as each UPS went through them. A settled cut (`open` false) that later evidence changes is a new
# revision; one that goes on, or recharges, changes in place.
cuts = sa.Table(
    "cuts",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("noted_ms", Ms, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("last_ms", Ms, nullable=False),
    sa.Column("to_ms", Ms),  # None: it goes on
    sa.Column("carried", sa.Boolean),  # None: not known yet
    sa.Column("facts", sa.Text, nullable=False),  # JSON: collector.judging.flags.backup.Cut
    sa.Column("recorded_ms", Ms, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Index("cuts_open", "open", "center"),
)
