"""Whom to call about an incident: the desks of the provider and of the distribution company, where they are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa

from collector.access.accounts import contacts
from collector.access.accounts.contacts import Kind
from collector.desk import tables
from collector.desk.incident import Incident
from collector.desk.symptoms import Family
from collector.store import schema

PARTIES: Mapping[Family, tuple[Kind, ...]] = {"power": ("company",), "line": ("provider",), "collector": ()}
EITHER: tuple[Kind, ...] = ("company", "provider")
SAMPLE = 5  # centers of an incident that are looked at: they share what fails

_ce = schema.centers.c


class Number(NamedTuple):
    """Who answers, and where."""

    name: str
    telephone: str


def numbers_of(conn: sa.Connection, incident: Incident) -> list[Number]:
    """Each once, in the order of the contacts."""
    return numbers_of_many(conn, {incident.id: incident.family})[incident.id]


def numbers_of_many(conn: sa.Connection, families: Mapping[int, Family]) -> dict[int, list[Number]]:
    """`numbers_of` each of these incidents, of which the family is known."""
    codes: dict[int, set[str]] = {number: set() for number in families}
    for member in tables.members(conn, list(codes), now=False) if codes else ():
        codes[member.incident].add(member.center)
    samples = {number: sorted(centers)[:SAMPLE] for number, centers in codes.items()}
    columns = (_ce.center, _ce.owner, _ce.isp, _ce.district, _ce.province)
    wanted = {code for sample in samples.values() for code in sample}
    homes = {row.center: row for row in conn.execute(sa.select(*columns).where(_ce.center.in_(sorted(wanted))))}
    known = [one for one in contacts.everyone(conn) if one.telephone] if homes else []
    by_incident = {}
    for number, family in families.items():
        kinds, places = PARTIES.get(family, EITHER), [homes[code] for code in samples[number] if code in homes]
        mine = (who for who in known if who.kind in kinds and any(who.concerns(place) for place in places))
        by_incident[number] = list(dict.fromkeys(Number(who.name, who.telephone) for who in mine))
    return by_incident
