"""The tables. One schema for SQLite and PostgreSQL, in SQLAlchemy Core.

Times are milliseconds since 1970 UTC. Every table about a center has its code in its key, so that a distributed
database can shard by it. The tables of readings are derived from the wire types (one column a field, lists as JSON)
and lie in time order: clustered by center, every row of a fleet dirties a page of its own. On PostgreSQL they and the
evidence are partitioned by month (collector.store.months); each has a partition for the rest, so no row is homeless.
"""

from __future__ import annotations

import types
import typing

import sqlalchemy as sa

from agent import wire

metadata = sa.MetaData()

Ms = sa.BigInteger
Code = sa.String(32)
Device = sa.String(64)

# What this database says of itself: its schema's version, and its epoch: a random name that is another after a restore.
about = sa.Table(
    "about",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

# When a part last committed something, so that a disk that takes no more is noticed where nothing else is written.
heartbeats = sa.Table(
    "heartbeats",
    metadata,
    sa.Column("part", sa.String(32), primary_key=True),
    sa.Column("at_ms", Ms, nullable=False),
)

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

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("issued_ms", Ms, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("used_ms", Ms),
    sa.Column("device", Device),
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

# Who may log in, with a role and a scope, and who may issue tokens and let gateways in. Nobody is ever deleted: from
# the first row with a right on, names are proven.
persons = sa.Table(
    "persons",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),  # the name as collector.access.users.key_of writes it
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kept", sa.Text, nullable=False),  # of the password: collector.access.passwords.hash_password
    sa.Column("may_issue", sa.Boolean, nullable=False),
    sa.Column("may_approve", sa.Boolean, nullable=False),
    sa.Column("added_ms", Ms, nullable=False),
    sa.Column("added_by", sa.Text, nullable=False),
    sa.Column("removed_ms", Ms),
    sa.Column("role", sa.String(12), nullable=False, server_default="desk"),  # collector.accounts.policy.Role
    sa.Column("scope", sa.Text, nullable=False, server_default="{}"),  # JSON: collector.scope.Scope
    sa.Column(
        "had_rights", sa.Boolean, nullable=False, server_default=sa.true()
    ),  # may issue or approve, or ever might
)

# Log-ins that last. What a cookie holds is 256 random bits; here is its hash.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("person", sa.Text, nullable=False),  # persons.key
    sa.Column("made_ms", Ms, nullable=False),
    sa.Column("seen_ms", Ms, nullable=False),  # to some minutes
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("is_full", sa.Boolean, nullable=False),  # false: the second proof is still missing
    sa.Column("address", sa.Text, nullable=False),  # a group of addresses: collector.access.users.address_group
    sa.Column("agent", sa.Text, nullable=False),  # the browser, as it names itself
    sa.Index("sessions_by_person", "person"),
)

# Second proofs of a person: a secret for codes by the time (sealed), or the public key of a passkey.
second_factors = sa.Table(
    "second_factors",
    metadata,
    sa.Column("person", sa.Text, primary_key=True),  # persons.key
    sa.Column("factor", sa.String(255), primary_key=True),  # of a passkey: its credential id in base64url
    sa.Column("kind", sa.String(8), nullable=False),  # totp | passkey
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),  # totp: sealed; passkey: its public key (COSE) in base64url
    sa.Column("counter", sa.BigInteger, nullable=False),  # totp: the newest step used; passkey: its signature count
    sa.Column("added_ms", Ms, nullable=False),
    sa.Column("confirmed_ms", Ms),  # None: shown, not yet proven
    sa.Column("removed_ms", Ms),
)

# Keys of programs that ask the API. A key is `nabz_PREFIX_SECRET`; here is the secret's hash.
api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("prefix", sa.String(12), primary_key=True),
    sa.Column("secret_hash", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.String(12), nullable=False),
    sa.Column("scope", sa.Text, nullable=False),  # JSON: collector.scope.Scope
    sa.Column("made_ms", Ms, nullable=False),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("expires_ms", Ms, nullable=False),
    sa.Column("revoked_ms", Ms),
    sa.Column("used_ms", Ms),  # to some minutes
)

# Whom to call about a center: people, owners, operators, providers' desks, distribution companies.
contacts = sa.Table(
    "contacts",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(12), nullable=False),  # collector.accounts.contacts.Kind
    sa.Column("name", sa.Text, nullable=False),  # of the owner, provider, company or person
    sa.Column("person", sa.Text, nullable=False),  # who answers there
    sa.Column("telephone", sa.String(20), nullable=False),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("whatsapp", sa.String(20), nullable=False),
    sa.Column("lang", sa.String(8), nullable=False),
    sa.Column("hours", sa.Text, nullable=False),  # as opening hours are written; empty: not known
    sa.Column("scope", sa.Text, nullable=False),  # JSON: collector.scope.Scope
    sa.Column("changed_ms", Ms, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Index("contacts_by_name", "kind", "name"),
)

# Passphrases given at the pages that did not fit, or are being looked at: bounded by the hour and name.
wrong_tries = sa.Table(
    "wrong_tries",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("whose", sa.String(64), nullable=False),  # SHA-256 of the name, or of a group of addresses
    sa.Column("at_ms", Ms, nullable=False),
    sa.Index("wrong_tries_by_name", "whose", "at_ms"),
)

# The log of what people did: who, what, to whom or what, and why. Rows are only added.
decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("act", sa.String(16), nullable=False),  # collector.access.users.Act
    sa.Column("person", sa.Text, nullable=False),  # who did it
    sa.Column("is_proven", sa.Boolean, nullable=False),  # by a passphrase; else the name is as given
    sa.Column("subject", sa.Text, nullable=False),  # the person it was done to
    sa.Column("center", Code, nullable=False),
    sa.Column("device", Device, nullable=False),
    sa.Column("key_hash", sa.String(64), nullable=False),  # SHA-256 of the gateway's public key
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("decisions_by_time", "at_ms"),
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

nonces = sa.Table(
    "nonces",
    metadata,
    sa.Column("nonce", sa.String(64), primary_key=True),
    sa.Column("issued_ms", Ms, nullable=False),
)

# How far UTC is ahead of each boot's monotonic clock, as well as it is known; `sure` if a synchronised clock said so.
boots = sa.Table(
    "boots",
    metadata,
    sa.Column("device", Device, primary_key=True),
    sa.Column("boot", sa.String(64), primary_key=True),
    sa.Column("center", Code, nullable=False),
    sa.Column("ahead_ms", Ms, nullable=False),
    sa.Column("sure", sa.Boolean, nullable=False),
    sa.Column("noted_ms", Ms, nullable=False, index=True),
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
)

# Copies that were restored, known by the command or by a gateway's proof: what was receipted between the newest reading
# of the copy and the restore may be lost, by our fault. Which of it, the gateways' accounts say (shed_readings).
restores = sa.Table(
    "restores",
    metadata,
    sa.Column("epoch", sa.String(32), primary_key=True),
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("to_ms", Ms, nullable=False),
    sa.Column("settled_ms", Ms),  # when what the journal had was carried out again; None: not yet
    sa.Column("confirmed_by", sa.Text, nullable=False, server_default=""),  # where there was no journal: who took it on
)

# The lines of the journal beside the database (collector.store.journal): how far it had come when this was copied.
journal = sa.Table(
    "journal",
    metadata,
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("line", sa.Text, nullable=False),
)

# Backups made and tried out: what became of each. `made_ms` is of the copy itself.
copies = sa.Table(
    "copies",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("act", sa.String(8), nullable=False),  # backup | drill
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("took_s", sa.Float, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("made_ms", Ms),
    sa.Column("size", sa.BigInteger),  # bytes
    sa.Column("is_good", sa.Boolean, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),  # JSON: agent.common.reasons.Reason
    sa.Index("copies_newest", "act", "at_ms"),
)

# When the collector's own wall clock was set, against its monotonic one: what it would have said, and what it said.
clock_jumps = sa.Table(
    "clock_jumps",
    metadata,
    sa.Column("from_ms", Ms, primary_key=True),
    sa.Column("to_ms", Ms, nullable=False),
)

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
    sa.Index("incident_events_by_incident", "incident", "id"),
    sa.Index("incident_events_to_queue", "queued_ms", "id"),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(8), nullable=False, server_default="change"),  # change | summary
    sa.Column("change", sa.BigInteger),  # None: no change of a flag brought it about
    sa.Column("event", sa.BigInteger),  # of an incident; None: of a program before incidents
    sa.Column("center", Code, nullable=False),
    sa.Column("channel", sa.String(64), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),  # waiting | sending | sent | failed | unsure
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_ms", Ms, nullable=False),
    sa.Column("sent_ms", Ms),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
    sa.Index("alerts_due", "state", "next_ms"),
    sa.Index("alerts_by_event", "event", "channel", unique=True),
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
    sa.Column("facts", sa.Text, nullable=False),  # JSON: collector.flags.cause.Facts
    sa.Column("witness", sa.Text, nullable=False),  # JSON: collector.flags.cause.NeighbourWitness
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
    sa.Column("facts", sa.Text, nullable=False),  # JSON: collector.flags.backup.Cut
    sa.Column("recorded_ms", Ms, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Index("cuts_open", "open", "center"),
)

# Months as they were reported, whole, so that a report outlives its readings. A month is reported when it is over; what
# changes it afterwards opens its next revision, in the transaction of the change (collector.reports.revisions).
reports = sa.Table(
    "reports",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("from_ms", Ms, primary_key=True),  # when the month begins in Pakistan
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("opened_ms", Ms, nullable=False),
    sa.Column("why", sa.Text, nullable=False),  # JSON: collector.reports.revisions.Why
    sa.Column("marks", sa.Integer, nullable=False),  # how often its cause grew: a report made meanwhile does not count
    sa.Column("look_ms", Ms, index=True),  # when it is to be made; None: it is closed
    sa.Column("closed_ms", Ms),
    sa.Column("changed", sa.Text, nullable=False, server_default="{}"),  # JSON: what the revision before said otherwise
    sa.Column("sha256", sa.String(64), nullable=False, server_default=""),  # of the report's JSON
    sa.Column("body", sa.LargeBinary),  # that JSON, compressed by zlib
    sa.Index("reports_by_time", "from_ms"),
)


# What each day says of each center (collector.reports.day_store). `made_ms` None: it is due, or due again.
day_sheets = sa.Table(
    "day_sheets",
    metadata,
    sa.Column("center", Code, primary_key=True),
    sa.Column("day_ms", Ms, primary_key=True),  # when it begins in Pakistan
    sa.Column("marks", sa.Integer, nullable=False),  # how often its day was touched
    sa.Column("made_ms", Ms),
    sa.Column("body", sa.LargeBinary),  # JSON, compressed by zlib
    sa.Index("day_sheets_due", "made_ms", "day_ms"),
)

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
)


def _column_type(annotation: object) -> sa.types.TypeEngine[typing.Any]:
    """The column for a wire field: numbers and words as themselves, everything with parts as JSON text."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _column_type(typing.get_args(annotation)[0])
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        inner = [part for part in typing.get_args(annotation) if part is not type(None)]
        return _column_type(inner[0]) if len(inner) == 1 else sa.Text()
    if typing.get_origin(annotation) is typing.Literal or annotation is str:
        return sa.Text()
    if annotation is bool:
        return sa.Boolean()
    if annotation is int:
        return sa.BigInteger()
    if annotation is float:
        return sa.Float()
    return sa.Text()


def _readings_table(kind: str, struct: type[wire.Reading]) -> sa.Table:
    hints = typing.get_type_hints(struct, include_extras=True)
    own = [name for name in struct.__struct_fields__ if name not in ("at", "subject")]
    return sa.Table(
        f"{kind}_readings",
        metadata,
        sa.Column("wall_ms", Ms, primary_key=True),
        sa.Column("center", Code, primary_key=True),
        sa.Column("device", Device, primary_key=True),
        sa.Column("spool", sa.String(64), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("received_ms", Ms, nullable=False),
        *(sa.Column(name, _column_type(hints[name])) for name in own),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (wall_ms)",
    )


readings = {kind: _readings_table(kind, row.struct) for kind, row in wire.KINDS.items()}

boots_by_center = sa.Index("boots_by_center", readings["boot"].c.center, readings["boot"].c.wall_ms)
# Readings of a UPS that come late have the cuts around them computed again from those of the same center.
ups_by_center = sa.Index("ups_by_center", readings["ups"].c.center, readings["ups"].c.wall_ms)
speeds_by_test = sa.Index("speeds_by_test", readings["speed"].c.test_id)

# The tables that PostgreSQL has in monthly parts, and the time each is parted by.
PARTED = {"evidence": "received_ms", **dict.fromkeys((table.name for table in readings.values()), "wall_ms")}
for _name in PARTED:
    _rest = sa.DDL(f"CREATE TABLE {_name}_rest PARTITION OF {_name} DEFAULT")  # type: ignore[no-untyped-call]
    sa.event.listen(metadata.tables[_name], "after_create", _rest.execute_if(dialect="postgresql"))

# What is summed of the readings of each kind, by the figure's name.
FIGURES = {kind: {figure.name: figure for figure in row.figures} for kind, row in wire.KINDS.items() if row.figures}


def of_record(kind: str) -> sa.ColumnElement[bool]:
    """Which readings may stand in one trend: those of speed only by the engine of record."""
    if kind != "speed":
        return sa.true()
    engine = readings["speed"].c.engine
    return sa.or_(engine.is_(None), engine == wire.ENGINE_OF_RECORD)  # none: of before readings named it


def _rollup_table(kind: str, step: str) -> sa.Table:
    """Sums of `step` (hours, days); a mean is kept as its sum and count. Clustered by center, as charts ask."""
    figures = [
        sa.Column(name, sa.Float)
        for figure in FIGURES[kind].values()
        for name in ((f"{figure.name}_sum", f"{figure.name}_n") if figure.how == "avg" else (figure.name,))
    ]
    return sa.Table(
        f"{kind}_{step}",
        metadata,
        sa.Column("center", Code, primary_key=True),
        sa.Column("subject", sa.String(64), primary_key=True),
        sa.Column("from_ms", Ms, primary_key=True),
        sa.Column("n", sa.Integer, nullable=False),
        *figures,
        sa.Index(f"{kind}_{step}_by_time", "from_ms"),
        sqlite_with_rowid=False,
    )


hours = {kind: _rollup_table(kind, "hours") for kind in FIGURES}
days = {kind: _rollup_table(kind, "days") for kind in FIGURES}

# Hours that had ended when something more of them came: their sums are made again (collector.store.rollups).
late_hours = sa.Table(
    "late_hours",
    metadata,
    sa.Column("hour_ms", Ms, primary_key=True),
    sa.Column("center", Code, primary_key=True),
    sa.Column("marked_ms", Ms, nullable=False),
)
