"""Whom to call about an incident: the desks of the provider and of the distribution company, where they are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa

from collector.accounts import contacts
from collector.accounts.contacts import Kind
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
    kinds = PARTIES.get(incident.family, EITHER)
    codes = sorted({one.center for one in tables.members(conn, [incident.id], now=False)})[:SAMPLE]
    homes = conn.execute(sa.select(_ce.owner, _ce.isp, _ce.district, _ce.province).where(_ce.center.in_(codes))).all()
    if not kinds or not homes:
        return []
    found = [
        Number(one.name, one.telephone)
        for one in contacts.everyone(conn)
        if one.kind in kinds and one.telephone and any(one.concerns(home) for home in homes)
    ]
    return list(dict.fromkeys(found))
