"""People: accounts, sessions, second factors, API keys, contacts, and what they did."""

from __future__ import annotations

import sqlalchemy as sa

from collector.store.schema.common import Code, Device, Ms, metadata

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
    sa.Column("role", sa.String(12), nullable=False, server_default="desk"),  # collector.access.accounts.policy.Role
    sa.Column("scope", sa.Text, nullable=False, server_default="{}"),  # JSON: collector.common.scope.Scope
    sa.Column(
        "had_rights", sa.Boolean, nullable=False, server_default=sa.true()
    ),  # may issue or approve, or ever might
    sa.Column("oidc", sa.Text, nullable=False, server_default=""),  # at the issuer: sub:NAME or email:ADDRESS
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

# Devices that take messages of a person by Web Push (collector.access.accounts.push_devices).
push_devices = sa.Table(
    "push_devices",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # SHA-256 of the endpoint
    sa.Column("person", sa.Text, nullable=False),  # persons.key
    sa.Column("endpoint", sa.Text, nullable=False),  # at the push service of its browser
    sa.Column("public_key", sa.String(100), nullable=False),  # base64url: a point of P-256 (RFC 8291)
    sa.Column("auth", sa.String(40), nullable=False),  # base64url: the secret of RFC 8291
    sa.Column("agent", sa.Text, nullable=False),  # the browser, as it names itself
    sa.Column("added_ms", Ms, nullable=False),
    sa.Index("push_devices_by_person", "person"),
)

# Keys of programs that ask the API. A key is `nabz_PREFIX_SECRET`; here is the secret's hash.
api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("prefix", sa.String(12), primary_key=True),
    sa.Column("secret_hash", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.String(12), nullable=False),
    sa.Column("scope", sa.Text, nullable=False),  # JSON: collector.common.scope.Scope
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
    sa.Column("kind", sa.String(12), nullable=False),  # collector.access.accounts.contacts.Kind
    sa.Column("name", sa.Text, nullable=False),  # of the owner, provider, company or person
    sa.Column("person", sa.Text, nullable=False),  # who answers there
    sa.Column("telephone", sa.String(20), nullable=False),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("whatsapp", sa.String(20), nullable=False),
    sa.Column("telegram", sa.String(20), nullable=False, server_default=""),  # the number of a chat with our bot
    sa.Column("lang", sa.String(8), nullable=False),
    sa.Column("hours", sa.Text, nullable=False),  # as opening hours are written; empty: not known
    sa.Column("scope", sa.Text, nullable=False),  # JSON: collector.common.scope.Scope
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

# Who and which centers were forgotten on request (collector.access.accounts.erasure): after a restore they are again.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("kind", sa.String(8), primary_key=True),  # person | center
    sa.Column("name", sa.String(200), primary_key=True),  # a person's key, a center's code
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
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
