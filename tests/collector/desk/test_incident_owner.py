"""An incident whose owner leaves, and one that comes and goes beside a flag that is never at rest."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from collector.access.accounts import directory
from collector.access.users import key_of
from collector.desk import work
from collector.desk.incident import WorkError
from collector.store import schema
from tests.collector.desk.conftest import MINUTE, Room


def test_what_an_officer_who_leaves_worked_on_is_anybodys_again(room: Room) -> None:
    room.change("LHR-1")
    with room.store.write() as conn:
        for name in ("Ayesha", "Bilal"):
            directory.add(conn, name, "-", "desk", directory.EVERYWHERE, "Root", 1)
        work.start(conn, 1, "Ayesha", "", room.now_ms)
    room.passes(10)
    assert room.incidents()[0].owner == "Ayesha"
    with room.store.write() as conn:
        conn.execute(sa.update(schema.persons).where(schema.persons.c.key == key_of("Ayesha")).values(removed_ms=2))
    room.passes(1)
    (incident,) = room.incidents()
    assert (incident.state, incident.owner) == ("new", "")
    assert room.acts(1, told=True) == ["opened", "ack_expired"]
    room.passes(1)
    assert room.acts(1).count("ack_expired") == 1


def test_another_flag_that_is_never_at_rest_keeps_no_incident_open(room: Room) -> None:
    """The battery has rested for half an hour; the line's loss goes pending and clear all the time."""
    for _ in range(3):
        for now in ("raised", "clear"):
            room.change("LHR-1", now, "power.battery")
            room.passes(4)
    assert room.incidents()[0].unstable_ms is not None
    for _ in range(8):
        row = room.row("LHR-1", "pending", "internet.loss") | {"was": "clear", "queued_ms": room.now_ms}
        with room.store.write() as conn:
            conn.execute(sa.insert(schema.changes), [row])
        room.passes(5)
    (incident,) = room.incidents()
    assert (incident.state, incident.unstable_ms) == ("resolved", None)
    assert room.now_ms > incident.opened_ms + 50 * MINUTE


def test_it_is_given_to_somebody_who_has_an_account(room: Room) -> None:
    room.change("LHR-1")
    with room.store.write() as conn:
        work.assign(conn, 1, "whoever", "Root", "", room.now_ms)  # before there are accounts, names are words
        for name in ("Ayesha", "Bilal", "Chand"):
            directory.add(conn, name, "-", "desk", directory.EVERYWHERE, "Root", 1)
        conn.execute(sa.update(schema.persons).where(schema.persons.c.key == key_of("Chand")).values(removed_ms=2))
    for name in ("Bilall", "Chand", "Ayesha, Bilal"):
        with room.store.write() as conn, pytest.raises(WorkError, match=r"nobody of that name .* Ayesha, Bilal$"):
            work.assign(conn, 1, name, "Ayesha", "", room.now_ms)
    assert room.incidents()[0].owner == "whoever"
    with room.store.write() as conn:
        assert work.assign(conn, 1, "  bilal ", "Ayesha", "", room.now_ms).owner == "Bilal"
        assert work.assign(conn, 1, "Root", "Root", "", room.now_ms).owner == "Root"  # who acts is known
