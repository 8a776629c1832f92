"""Owners: parties with centers. Which centers are whose, on which day, is a fact of each center."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import sqlalchemy as sa

from collector.register import dated
from collector.register.center import Center, from_row
from collector.register.facts import key_of
from collector.store import schema, upsert

_o = schema.owners.c


def put(conn: sa.Connection, name: str, by: str, now_ms: int, **details: str) -> dict[str, object]:
    """Adds an owner, or changes what is given of one: registration, contact, phone."""
    held = get(conn, name)
    new: dict[str, object] = {"registration": "", "contact": "", "phone": "", "added_ms": now_ms, "added_by": by}
    row: dict[str, object] = {
        "key": key_of(name),
        **(held or new),
        "name": name,
        **{key: text for key, text in details.items() if text},
    }
    upsert(conn, schema.owners, [row])
    return row


def get(conn: sa.Connection, name: str) -> dict[str, object] | None:
    row = conn.execute(sa.select(schema.owners).where(_o.key == key_of(name))).one_or_none()
    return None if row is None else dict(row._mapping)


def listed(conn: sa.Connection) -> list[dict[str, object]]:
    """Every party that owns or owned something, with its centers of now; those that only a center names, too."""
    known = {str(row.key): dict(row._mapping) for row in conn.execute(sa.select(schema.owners))}
    centers = [from_row(row) for row in conn.execute(sa.select(schema.centers).order_by(schema.centers.c.center))]
    owned: dict[str, list[str]] = defaultdict(list)
    for center in centers:
        key = key_of(center.owner)
        owned[key].append(center.code)
        known.setdefault(key, {"key": key, "name": center.owner, "registration": "", "contact": "", "phone": ""})
    return [known[key] | {"centers": owned[key]} for key in sorted(known) if key]


def centers_on(conn: sa.Connection, name: str, at_ms: int) -> list[Center]:
    """The centers that were this party's then."""
    rows = map(from_row, conn.execute(sa.select(schema.centers).order_by(schema.centers.c.center)))
    return _owned(dated.histories(conn, rows).values(), name, at_ms)


def _owned(centers: Iterable[dated.DatedCenter], name: str, at_ms: int) -> list[Center]:
    then = (center.at(at_ms) for center in centers)
    return [center for center in then if key_of(center.owner) == key_of(name)]
