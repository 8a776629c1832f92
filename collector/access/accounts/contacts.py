"""Whom to call about a center: the owner, the operator, the provider's desk, the distribution company, an officer.

A contact of an owner or a provider is about the centers that have that name in their row; every contact can be narrowed
to a scope. Telephone numbers are E.164 (ITU-T), or the short codes of a country, such as 118.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, Protocol, get_args

import sqlalchemy as sa

from collector.access import users
from collector.access.accounts.policy import Account
from collector.access.users import PersonError
from collector.common.scope import EVERYWHERE, PARTS, Located, Scope, decode
from collector.register import opening_hours
from collector.store import schema

Kind = Literal["person", "owner", "operator", "provider", "company"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NAMED_BY: Mapping[Kind, Literal["owner", "isp"]] = {"owner": "owner", "provider": "isp"}  # columns of the register
LANGS = ("en", "ur")
TELEPHONE = re.compile(r"\+[1-9]\d{6,14}|\d{3,6}")
EMAIL = re.compile(r"[^@\s<>\"]{1,64}@[^@\s<>\"]{1,180}\.[^@\s<>\".]{2,24}")
CHAT = re.compile(r"-?\d{1,19}")  # a chat of Telegram's Bot API, groups below zero
COUNTRY = "+92"
MAX_TEXT = 100


class Supplied(Located, Protocol):
    """A center, as far as contacts look at it."""

    @property
    def isp(self) -> str: ...


@dataclass(frozen=True)
class Contact:
    """One row. `name` is the owner's, provider's, company's or account's, `person` is who answers there. `hours` are as
    opening hours are written; empty is not known."""

    kind: Kind
    name: str
    person: str = ""
    telephone: str = ""
    email: str = ""
    whatsapp: str = ""
    telegram: str = ""
    lang: str = "en"
    hours: str = ""
    scope: Scope = EVERYWHERE
    id: int = 0

    def concerns(self, center: Supplied) -> bool:
        column = NAMED_BY.get(self.kind)
        return (column is None or getattr(center, column) == self.name) and self.scope.includes(center)

    def is_seen_within(self, scope: Scope) -> bool:
        """Whether it may be about a center of that scope."""
        mine = {name: getattr(self.scope, name) for name in PARTS}
        if self.kind == "owner":
            mine["owner"] = mine["owner"] or frozenset({self.name})
        return all(not mine[name] or not mine[name].isdisjoint(values) for name, values in scope.parts.items())

    def row(self) -> dict[str, object]:
        """For programs: its fields, the scope as {column: [values]}."""
        return {**{field.name: getattr(self, field.name) for field in fields(self)}, "scope": self.scope.parts}


TEXTS = tuple(field.name for field in fields(Contact) if field.name not in ("scope", "id"))


def parse(given: Mapping[str, str], scope: Scope) -> Contact:
    """A contact of what a form or a command gave, telephones in one way of writing. Raises PersonError."""
    text = {name: " ".join(given.get(name, "").split()) for name in TEXTS}
    for name, value in text.items():
        if len(value) > MAX_TEXT or not value.isprintable():
            raise _bad(name, value, f"must be up to {MAX_TEXT} letters on one line")
    kind = next((item for item in KINDS if item == text["kind"]), None)
    if kind is None:
        raise _bad("kind", text["kind"], f"must be one of {', '.join(KINDS)}")
    if not text["name"]:
        raise _bad("name", "", "must be given")
    if kind in ("operator", "company") and scope.is_all:
        raise _bad("scope", "", f"of this kind must be given: the centers that the {kind} is about")
    for name in ("telephone", "whatsapp"):
        text[name] = telephone(text[name])
        if text[name] and not TELEPHONE.fullmatch(text[name]):
            raise _bad(name, given[name], "must be a number such as +92 42 1234567, or a short code such as 118")
    if text["email"] and not EMAIL.fullmatch(text["email"]):
        raise _bad("email", text["email"], "must be an address such as desk@example.pk")
    if text["telegram"] and not CHAT.fullmatch(text["telegram"]):
        raise _bad("telegram", text["telegram"], "must be the number of a chat, which our bot answers to /start")
    if not any(text[name] for name in ("telephone", "email", "whatsapp", "telegram")):
        raise _bad("telephone", "", "or an e-mail or WhatsApp must be given")
    _check_rest(text)
    return Contact(
        kind, text["name"], text["person"], text["telephone"], text["email"], text["whatsapp"], text["telegram"],
        text["lang"], text["hours"], scope,
    )  # fmt: skip


def _check_rest(text: dict[str, str]) -> None:
    text["lang"] = text["lang"] or "en"
    if text["lang"] not in LANGS:
        raise _bad("lang", text["lang"], f"must be one of {', '.join(LANGS)}")
    if text["hours"]:
        try:
            opening_hours.parse(text["hours"])
        except ValueError:
            raise _bad("hours", text["hours"], 'must be such as "Mon-Sat 09:00-21:00" or "always"') from None


def _bad(name: str, value: str, rule: str) -> PersonError:
    return PersonError("bad_contact", f"contact: {name} {value[:40]!r}: {rule}; correct it")


def telephone(text: str) -> str:
    """In E.164 as far as it can be: without spaces, `0` of the country's own numbers as +92."""
    digits = re.sub(r"[\s().-]", "", text)
    if digits.startswith("00"):
        return "+" + digits[2:]
    return COUNTRY + digits[1:] if digits.startswith("0") else digits


# ---------------------------------------------------------------- the table


def everyone(conn: sa.Connection) -> list[Contact]:
    """All contacts, by kind and name."""
    table = schema.contacts
    return [_contact(row) for row in conn.execute(sa.select(table).order_by(table.c.kind, table.c.name, table.c.id))]


def _contact(row: sa.Row[tuple[object, ...]]) -> Contact:
    values = {name: row._mapping[name] for name in (*TEXTS, "id")}
    return Contact(**values, scope=decode(row.scope))


def seen_by(conn: sa.Connection, account: Account) -> list[Contact]:
    """Those that may be about a center of this account."""
    return [contact for contact in everyone(conn) if contact.is_seen_within(account.scope)]


def of_center(conn: sa.Connection, center: Supplied) -> list[Contact]:
    """Whom to call about this center."""
    return [contact for contact in everyone(conn) if contact.concerns(center)]


def keep(conn: sa.Connection, contact: Contact, account: Account, now_ms: int) -> int:
    """Adds it, or changes the one of its id; returns the id. Both must lie within the account's scope. Raises
    PersonError."""
    table = schema.contacts
    _check_reach(account, contact)
    values = {name: getattr(contact, name) for name in TEXTS} | {"scope": contact.scope.encode()}
    values |= {"changed_ms": now_ms, "changed_by": account.name}
    if contact.id:
        _check_reach(account, _one(conn, contact.id))
        conn.execute(sa.update(table).where(table.c.id == contact.id).values(values))
        number = contact.id
    else:
        key = conn.execute(sa.insert(table).values(values)).inserted_primary_key
        assert key is not None
        number = int(key[0])
    _record(conn, "contact_set", contact, account, now_ms)
    return number


def remove(conn: sa.Connection, number: int, account: Account, now_ms: int) -> None:
    """Raises PersonError."""
    contact = _one(conn, number)
    _check_reach(account, contact)
    conn.execute(sa.delete(schema.contacts).where(schema.contacts.c.id == number))
    _record(conn, "contact_removed", contact, account, now_ms)


def _record(
    conn: sa.Connection, act: Literal["contact_set", "contact_removed"], contact: Contact, account: Account, now_ms: int
) -> None:
    facts = {name: value for name, value in asdict(contact).items() if value and name not in ("kind", "name", "scope")}
    users.record(
        conn, act, account.name, now_ms, is_proven=bool(account.key), subject=f"{contact.kind} {contact.name}",
        reason=json.dumps({**facts, **contact.scope.parts}, ensure_ascii=False),
    )  # fmt: skip


def _one(conn: sa.Connection, number: int) -> Contact:
    row = conn.execute(sa.select(schema.contacts).where(schema.contacts.c.id == number)).one_or_none()
    if row is None:
        raise PersonError("no_contact", f"contact {number}: is not there; see `nabz-collector contact list`")
    return _contact(row)


def _check_reach(account: Account, contact: Contact) -> None:
    """A contact of centers beyond an account's own is not the account's to change."""
    if not account.scope.covers(contact.scope):
        raise PersonError("out_of_scope", f"contact {contact.name!r}: is about centers beyond yours; narrow its scope")
