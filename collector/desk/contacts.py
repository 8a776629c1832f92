"""Whom to call about an incident: the provider, or the company that runs the feeder, where a telephone is known."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from collector.desk.incident import Incident
from collector.desk.survey import Survey

# Of the contacts, whoever keeps them; a database without them has no numbers.
_contacts = sa.table("contacts", sa.column("name"), sa.column("telephone"))


class Number(NamedTuple):
    """Who answers, and where."""

    name: str
    telephone: str


def numbers_of(conn: sa.Connection, incident: Incident) -> list[Number]:
    """Telephones of the provider and of the distribution company: of the company whose name a feeder's begins with."""
    names = _names(conn, incident)
    if not names or not sa.inspect(conn).has_table("contacts"):
        return []
    rows = conn.execute(sa.select(_contacts.c.name, _contacts.c.telephone).where(_contacts.c.telephone != ""))
    known = [Number(str(row.name), str(row.telephone)) for row in rows]
    return [one for one in dict.fromkeys(known) if any(_is_of(one.name, name) for name in names)]


def _names(conn: sa.Connection, incident: Incident) -> list[str]:
    """The parties that this is about, as the register calls them."""
    if incident.scope == "feeder":
        return [incident.place]
    if incident.scope == "provider":
        return [incident.place.rpartition(", ")[0]]
    place = Survey(conn, None, 0).place(incident.place) if incident.scope == "center" else None
    if place is None:
        return []
    parties = {"power": place.feeder, "line": place.isp}
    found = [parties[incident.family]] if incident.family in parties else [place.feeder, place.isp]
    return [name for name in found if name]


def _is_of(known: str, name: str) -> bool:
    """Whether a contact is of this party: of the same name, or of a name that it begins with."""
    one, other = (" ".join(text.split()).casefold() for text in (known, name))
    return other == one or (bool(one) and other.startswith(one) and not other[len(one)].isalnum())
