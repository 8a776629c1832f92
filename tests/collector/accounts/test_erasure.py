"""A person who asks to be forgotten: what goes, and what stays because proofs rest on it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from collector.access import passwords, users
from collector.accounts import directory, erasure
from collector.scope import Scope
from collector.store import Store, schema

NOW = 1_795_000_000_000


def rows(store: Store, table: sa.Table) -> list[sa.Row]:
    with store.read() as conn:
        return list(conn.execute(sa.select(table)))


def test_what_a_person_gave_goes_and_what_they_decided_stays(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn:
        for name, role in (("Root", "admin"), ("Amina Khan", "desk")):
            directory.add(conn, name, passwords.hash_password("a long pass phrase"), role, Scope(), "Root", NOW)
        users.record(conn, "issued", "Amina Khan", NOW, subject="LHR-1")
        key = users.key_of("Amina Khan")
        factor = {"person": key, "factor": "t", "kind": "totp", "name": "t", "secret": "s", "counter": 0}
        conn.execute(sa.insert(schema.second_factors).values(**factor, added_ms=NOW))
        reach = {"kind": "person", "name": "x", "person": "Amina  KHAN", "telephone": "+923001234567", "email": "a@b.c"}
        about = {"whatsapp": "", "lang": "", "hours": "", "scope": "{}", "changed_ms": NOW, "changed_by": "Root"}
        conn.execute(sa.insert(schema.contacts).values(**reach, **about))
        gone = erasure.erase(conn, "Amina Khan", "Root", NOW + 1)
    assert (gone["second_factors"], gone["contacts"]) == (1, 1)
    assert (rows(sqlite_store, schema.second_factors), rows(sqlite_store, schema.contacts)) == ([], [])
    person = next(row for row in rows(sqlite_store, schema.persons) if row.key == key)
    assert (person.kept, person.removed_ms) == (erasure.UNUSABLE, NOW + 1)
    acts = [(row.act, row.person) for row in rows(sqlite_store, schema.decisions)]
    assert ("issued", "Amina Khan") in acts
    assert acts[-1] == ("person_erased", "Root")


def test_nobody_is_erased_who_was_never_there(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn, pytest.raises(users.PersonError):
        erasure.erase(conn, "Nobody", "Root", NOW)
