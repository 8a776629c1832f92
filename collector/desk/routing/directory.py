"""Whom routing chooses from, as the database has it now: accounts with the contact of their name, and contacts of
operators and owners, who need no account."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from collector.access.accounts import contacts, push_devices
from collector.access.accounts import directory as accounts
from collector.access.accounts.contacts import Contact
from collector.access.users import key_of
from collector.desk.routing import tables
from collector.desk.routing.decide import RoutingBook
from collector.desk.routing.facts import PersonalChannel
from collector.desk.routing.recipients import OF_CONTACTS, AddressKind, Recipient
from collector.register import calendar
from collector.register.opening_hours import DayRule


def book_of(conn: sa.Connection, channels: Sequence[PersonalChannel], now_ms: int) -> RoutingBook:
    """All that routing chooses from."""
    return RoutingBook(
        routes=tables.routes(conn),
        plans=tables.plans(conn),
        rotas=tables.rotas(conn),
        people={one.key: one for one in people(conn)},
        channels=tuple(channels),
        days=holidays(conn, now_ms),
    )


def holidays(conn: sa.Connection, now_ms: int) -> tuple[DayRule, ...]:
    """Everybody's; other hours of the centers are not the officers'."""
    return tuple(rule for rule in calendar.around(conn, now_ms).common if not rule.hours)


def people(conn: sa.Connection) -> list[Recipient]:
    """Accounts first, by name."""
    known, pushed = contacts.everyone(conn), push_devices.people(conn)
    by_key = {key_of(one.name): one for one in known if one.kind == "person"}
    recipients = []
    for person in accounts.everybody(conn):
        if person.removed_ms is not None:
            continue
        account, contact = person.account, by_key.get(person.account.key)
        recipients.append(
            Recipient(
                account.key, account.name, account.role, account.scope,
                lang=contact.lang if contact else "en", hours=contact.hours if contact else "",
                addresses=_addresses(contact) | ({"push": account.key} if account.key in pushed else {}),
            )
        )  # fmt: skip
    return recipients + [_of_contact(one) for one in known if one.kind in ("operator", "owner")]


def _of_contact(contact: Contact) -> Recipient:
    return Recipient(
        f"contact:{contact.id}", contact.person or contact.name, "contact", contact.scope, contact.lang, contact.hours,
        _addresses(contact), owner=contact.name if contact.kind == "owner" else "",
    )  # fmt: skip


def _addresses(contact: Contact | None) -> dict[AddressKind, str]:
    return {kind: address for kind in OF_CONTACTS if (address := str(getattr(contact, kind, "")))}
