"""A person who asks to be forgotten: what goes, and what stays because proofs rest on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from collector.access import passwords, users
from collector.access.accounts import directory, erasure
from collector.common.scope import Scope
from collector.register.centers import CenterError
from collector.store import Store, schema
from tests.collector.conftest import Gateway

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


@pytest.fixture
def closed(sqlite_store: Store, gateway: Callable[..., Gateway]) -> Gateway:
    """A closed center with all that is erased of one, beside another that is open."""
    mine, other = gateway(sqlite_store, "LHR-1", owner="Bilal"), gateway(sqlite_store, "LHR-2", owner="Sana")
    with sqlite_store.write() as conn:
        for one in (mine, other):
            sight = {"center": one.center, "device": one.device, "source": "session", "address": "9.9.9.9"}
            conn.execute(sa.insert(schema.sightings).values(**sight, first_ms=1, last_ms=1))
            asked = {"question": one.center, "center": one.center, "device": one.device, "kind": "log", "asked_by": "x"}
            conn.execute(sa.insert(schema.questions).values(**asked, asked_ms=1, expires_ms=2, answer="host bilal-pc"))
        conn.execute(sa.update(schema.devices).values(hostname="bilal-pc"))
        for owner in ("Bilal", "Sana"):
            reach = {"kind": "owner", "name": owner, "person": owner, "telephone": "+923001234567", "email": ""}
            about = {"whatsapp": "", "lang": "", "hours": "", "scope": "{}", "changed_ms": NOW, "changed_by": "Root"}
            conn.execute(sa.insert(schema.contacts).values(**reach, **about))
        conn.execute(sa.update(schema.centers).where(schema.centers.c.center == "LHR-1").values(lifecycle="closed"))
    return mine


def test_of_a_closed_center_its_people_go_and_its_neighbour_stays(sqlite_store: Store, closed: Gateway) -> None:
    with sqlite_store.write() as conn:
        planned = erasure.center_counts(conn, "LHR-1")
        gone = erasure.erase_center(conn, "LHR-1", "Root", NOW)
        assert erasure.center_counts(conn, "LHR-1") == dict.fromkeys(planned, 0)
    assert {name: count for name, count in planned.items() if count} == {
        "sightings": 1, "questions": 1, "contacts": 1, "devices": 1,
    }  # fmt: skip
    assert gone == planned
    assert [row.center for row in rows(sqlite_store, schema.sightings)] == ["LHR-2"]
    assert [row.name for row in rows(sqlite_store, schema.contacts)] == ["Sana"]
    assert {row.center: row.hostname for row in rows(sqlite_store, schema.devices)} == {
        "LHR-1": "", "LHR-2": "bilal-pc",
    }  # fmt: skip
    assert [(row.act, row.center) for row in rows(sqlite_store, schema.decisions)] == [("center_erased", "LHR-1")]


def test_a_center_that_is_not_closed_and_one_that_is_none_are_not_erased(sqlite_store: Store, closed: Gateway) -> None:
    with sqlite_store.write() as conn:
        for code in ("LHR-2", "KHI-9"):
            with pytest.raises(CenterError):
                erasure.erase_center(conn, code, "Root", NOW)
    assert len(rows(sqlite_store, schema.sightings)) == 2


def test_contacts_of_an_owner_stay_while_one_of_their_centers_is_open(sqlite_store: Store, closed: Gateway) -> None:
    with sqlite_store.write() as conn:
        conn.execute(sa.update(schema.centers).values(owner="Bilal"))
        assert erasure.erase_center(conn, "LHR-1", "Root", NOW)["contacts"] == 0
    assert len(rows(sqlite_store, schema.contacts)) == 2
