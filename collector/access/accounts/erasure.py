"""What is held about a person, or a closed center, that asks to be forgotten, and what of it goes without breaking a
proof.

All that a person gave for themselves goes: password, second proofs, log-ins, how to reach them. The name under what
they decided stays: it is in signed evidence, in reports and in the transparency log, where a change would be a rewrite.

Of a closed center go the ways to reach its people and what its gateways let see beside their measurements: addresses,
names of machines, answers to questions. Its signed evidence, months and findings stay, and its facts, a name and a
telephone among them, as the transparency log says that they are there.

An erasure is a row, and in the journal: a copy that is restored brings back what was erased, and the next start erases
it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from collector.access import users
from collector.access.accounts import directory
from collector.access.users import PersonError
from collector.register import centers
from collector.register.centers import CenterError
from collector.store import schema, upsert
from collector.store.journal import journaled

UNUSABLE = "!"  # in place of a password's hash: no password has it

_contacts, _centers = schema.contacts.c, schema.centers.c


def erase(conn: sa.Connection, name: str, by: str, now_ms: int, *, is_proven: bool = False) -> dict[str, int]:
    """Forgets a person as far as proofs allow; returns how many rows went, by table. One that is still registered is
    removed. Raises PersonError."""
    account = directory.account_of(conn, name)
    if account is not None:
        directory.remove(conn, name, by, now_ms, is_proven=is_proven)
    key = users.key_of(name)
    if conn.execute(sa.select(schema.persons.c.key).where(schema.persons.c.key == key)).first() is None:
        raise PersonError("unknown", f"person {name!r}: is not registered; see `nabz-collector person list`")
    counts = _forget_person(conn, key)
    journaled(conn, schema.persons, key)
    _note(conn, "person", key, by, now_ms)
    users.record(conn, "person_erased", by, now_ms, is_proven=is_proven, subject=name)
    return counts


def erase_center(conn: sa.Connection, code: str, by: str, now_ms: int, *, is_proven: bool = False) -> dict[str, int]:
    """Forgets the people of a closed center; returns how many rows went, by table. Raises CenterError."""
    counts = center_counts(conn, code)
    _forget_center(conn, code)
    _note(conn, "center", code, by, now_ms)
    users.record(conn, "center_erased", by, now_ms, is_proven=is_proven, center=code)
    return counts


def center_counts(conn: sa.Connection, code: str) -> dict[str, int]:
    """How many rows would go, by table; nothing is changed. Raises CenterError for a center that is not closed."""
    center = centers.get(conn, code)
    if center.lifecycle != "closed":
        raise CenterError(f"center {code!r}: is {center.lifecycle}; only what is about a closed one is erased")
    return {
        table.name: conn.scalar(sa.select(sa.func.count()).select_from(table).where(mine)) or 0
        for table, mine in (*_going(conn, code), *((table, mine) for table, mine, _ in _blanked(code)))
    }


def again(conn: sa.Connection, erased: Iterable[Mapping[str, str]]) -> None:
    """After a restore: what these rows of `erasures` name is forgotten once more."""
    forget = {"person": _forget_person, "center": _forget_center}
    for row in erased:
        forget[row["kind"]](conn, row["name"])


# ---------------------------------------------------------------- what goes


def _forget_person(conn: sa.Connection, key: str) -> dict[str, int]:
    persons = schema.persons.c
    conn.execute(sa.update(schema.persons).where(persons.key == key).values(kept=UNUSABLE, scope="{}", oidc=""))
    people = conn.execute(sa.select(_contacts.id, _contacts.person))
    own = _contacts.id.in_([row.id for row in people if users.key_of(row.person) == key])
    gone = {
        "second_factors": sa.delete(schema.second_factors).where(schema.second_factors.c.person == key),
        "sessions": sa.delete(schema.sessions).where(schema.sessions.c.person == key),
        "push_devices": sa.delete(schema.push_devices).where(schema.push_devices.c.person == key),
        "contacts": sa.delete(schema.contacts).where(own),
    }
    return {table: conn.execute(statement).rowcount for table, statement in gone.items()}


def _forget_center(conn: sa.Connection, code: str) -> None:
    for table, mine in _going(conn, code):
        conn.execute(sa.delete(table).where(mine))
    for table, mine, values in _blanked(code):
        conn.execute(sa.update(table).where(mine).values(values))


def _going(conn: sa.Connection, code: str) -> list[tuple[sa.Table, sa.ColumnElement[bool]]]:
    """The rows of each table that are about this center's people or machines and prove nothing. Contacts of its owner
    go with the owner's last center."""
    owner = conn.scalar(sa.select(_centers.owner).where(_centers.center == code)) or ""
    others = sa.select(sa.func.count()).where(_centers.owner == owner, _centers.lifecycle != "closed")
    is_last = bool(owner) and not conn.scalar(others)
    owned = (_contacts.kind == "owner") & (_contacts.name == owner) if is_last else sa.false()
    named = (schema.sightings, schema.questions, schema.challenges, schema.fetches, schema.device_settings,
             schema.latest)  # fmt: skip
    return [(table, table.c.center == code) for table in named] + [(schema.contacts, owned)]


def _blanked(code: str) -> list[tuple[sa.Table, sa.ColumnElement[bool], dict[str, str]]]:
    """Columns that lose what they say, of rows that stay."""
    devices = schema.devices.c
    return [(schema.devices, (devices.center == code) & (devices.hostname != ""), {"hostname": ""})]


def _note(conn: sa.Connection, kind: str, name: str, by: str, now_ms: int) -> None:
    upsert(conn, schema.erasures, [{"kind": kind, "name": name, "at_ms": now_ms, "by": by}])
    journaled(conn, schema.erasures, kind, name)
