"""What is held about a person who asks to be forgotten, and what of it goes without breaking a proof.

All that a person gave for themselves goes: password, second proofs, log-ins, how to reach them. The name under what
they decided stays: it is in signed evidence, in reports and in the transparency log, where a change would be a rewrite.
"""

from __future__ import annotations

import sqlalchemy as sa

from collector.access import users
from collector.access.users import PersonError
from collector.accounts import directory
from collector.store import schema

UNUSABLE = "!"  # in place of a password's hash: no password has it


def erase(conn: sa.Connection, name: str, by: str, now_ms: int, *, is_proven: bool = False) -> dict[str, int]:
    """Forgets a person as far as proofs allow; returns how many rows went, by table. One that is still registered is
    removed. Raises PersonError."""
    account = directory.account_of(conn, name)
    if account is not None:
        directory.remove(conn, name, by, now_ms, is_proven=is_proven)
    key = users.key_of(name)
    persons = schema.persons.c
    held = conn.execute(sa.update(schema.persons).where(persons.key == key).values(kept=UNUSABLE, scope="{}")).rowcount
    if not held:
        raise PersonError("unknown", f"person {name!r}: is not registered; see `nabz-collector person list`")
    contacts = schema.contacts.c
    people = conn.execute(sa.select(contacts.id, contacts.person))
    own = contacts.id.in_([row.id for row in people if users.key_of(row.person) == key])
    gone = {
        "second_factors": sa.delete(schema.second_factors).where(schema.second_factors.c.person == key),
        "sessions": sa.delete(schema.sessions).where(schema.sessions.c.person == key),
        "contacts": sa.delete(schema.contacts).where(own),
    }
    counts = {table: conn.execute(statement).rowcount for table, statement in gone.items()}
    users.record(conn, "person_erased", by, now_ms, is_proven=is_proven, subject=name)
    return counts
