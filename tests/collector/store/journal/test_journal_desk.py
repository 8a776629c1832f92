"""What the desk decided outlives a restore: whom messages go to, planned work, and acts on incidents."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from collector.acts import restored, stories
from collector.acts.person import ActingPerson
from collector.common.config import Settings
from collector.desk import tables, windows, work
from collector.desk.routing import tables as routing
from collector.desk.routing.plans import PlanStep, parse_targets
from collector.desk.routing.rota import Rota, RotaOverride
from collector.desk.routing.routes import AlertRoute
from collector.desk.windows import MaintenanceWindow
from collector.recovery import settle
from collector.store import Store, schema
from collector.store.backup import backup
from collector.store.database import opened
from tests.collector.desk.conftest import STANDARDS, Room
from tests.collector.store.journal.test_journal import lines, registered, settings, started, went_back

__all__ = ["registered", "settings"]  # fixtures
NOW, HOUR = 1_795_000_000_000, 3_600_000
PLAN = (PlanStep(0, parse_targets("operator"), ()),)
WINDOW = MaintenanceWindow("center", "LHR-1", "mute", NOW, NOW + HOUR, reason="new cable")
pytestmark = pytest.mark.row(53)


def again(before: Settings, copy: Path, tmp_path: Path) -> Settings:
    """The copy beside the same data folder, started."""
    other = went_back(before, copy, tmp_path)
    with opened(other) as store:
        settle.settle(store, other, NOW + 2, partial(restored.follow, now_ms=NOW + 2))
    return other


def routing_of(settings: Settings) -> tuple[Any, ...]:
    with opened(settings) as store, store.read() as conn:
        found = routing.routes(conn), routing.plans(conn), routing.rotas(conn), windows.listing(conn, ended=True)
        return (*found, conn.execute(sa.select(schema.windows.c.ended_by)).all())


def test_routes_plans_rotas_and_windows_are_as_they_were_before_the_restore(
    registered: Settings, tmp_path: Path
) -> None:
    with opened(registered) as store:
        with store.write() as conn:
            routing.set_plan(conn, "mine", PLAN, "Ali", NOW)
            first = routing.add_route(conn, AlertRoute(plan="mine"), "Ali", NOW)
            duty = routing.add_rota(conn, Rota("day", ("ali", "sara"), NOW), "Ali", NOW)
            planned = windows.add(conn, WINDOW, "Ali", NOW)
        backup(store, tmp_path / "copy")
        with store.write() as conn:
            routing.remove_route(conn, first)
            routing.remove_plan(conn, "mine")
            routing.set_plan(conn, "other", PLAN, "Ali", NOW)
            routing.add_route(conn, AlertRoute(plan="other", severity="serious"), "Ali", NOW)
            routing.add_override(conn, duty, RotaOverride("sara", NOW, NOW + HOUR, "ill"), "Ali", NOW)
            routing.remove_override(
                conn, routing.add_override(conn, duty, RotaOverride("", NOW, NOW + HOUR, "no"), "Ali", NOW)
            )
            windows.end(conn, planned, "Sara", NOW)
            windows.add(conn, replace(WINDOW, mode="skip"), "Ali", NOW)
    before = routing_of(registered)
    other = again(registered, tmp_path / "copy", tmp_path)
    assert routing_of(other) == before
    with opened(other) as store, store.write() as conn:  # and work goes on, numbers and all
        assert routing.add_route(conn, AlertRoute(plan="other"), "Ali", NOW) == max(one.id for one in before[0]) + 1
        routing.remove_rota(conn, duty)
    noted = lines(other)
    started(other)
    assert lines(other) == noted


def test_rows_of_an_older_program_get_their_line_once(registered: Settings) -> None:
    with opened(registered) as store, store.write() as conn:
        routing.set_plan(conn, "mine", PLAN, "Ali", NOW)
        routing.add_route(conn, AlertRoute(plan="mine"), "Ali", NOW)
        conn.info.pop("journal")
    before = lines(registered)
    started(registered)
    noted = lines(registered)
    assert len(noted) == len(before) + 2
    started(registered)
    assert lines(registered) == noted


def acted(store: Store) -> Room:
    """Four incidents before a copy, a fifth after it, and what people did with them since."""
    room = Room(store, now_ms=NOW)
    for code in ("KHI-1", "KHI-2", "KHI-3", "KHI-4", "KHI-5"):
        room.center(code)
    for code in ("KHI-1", "KHI-2", "KHI-3", "KHI-5"):
        room.change(code)
    return room


def do_all(room: Room) -> None:
    room.change("KHI-4")
    with room.store.write() as conn:
        work.acknowledge(conn, 1, "Ayesha", "called PTCL", NOW)
        work.resolve(conn, 2, "Bilal", "known to be a test", NOW)
        work.snooze(conn, 3, NOW + HOUR, "Bilal", "cable is being laid", NOW)
        work.assign(conn, 5, "Chand", "Bilal", "his city", NOW)
        work.note(conn, 5, "Chand", "on my way", NOW)
        work.merge(conn, 4, 1, STANDARDS, "Bilal", "the same cable", NOW)


def test_acts_on_incidents_are_as_they_were_and_nobody_is_told_of_them_again(
    registered: Settings, tmp_path: Path
) -> None:
    with opened(registered) as store:
        room = acted(store)
        backup(store, tmp_path / "copy")
        do_all(room)
    with opened(again(registered, tmp_path / "copy", tmp_path)) as store:
        room = Room(store, now_ms=NOW + 3)
        found = [(one.state, one.owner, one.centers) for one in room.incidents()]
        assert found == [
            ("acknowledged", "Ayesha", 2), ("resolved", "", 0), ("new", "", 1), ("merged", "", 0),
            ("resolved", "Chand", 0),
        ]  # fmt: skip
        assert room.incidents()[2].snoozed_until_ms == NOW + HOUR
        assert [room.acts(number) for number in (1, 2, 3)] == [
            ["opened", "acknowledged", "merged"], ["opened", "closed"], ["opened", "snoozed"]
        ]  # fmt: skip
        assert room.acts(5) == ["assigned", "noted", "noted"]
        assert room.told() == [(1, "opened")]  # as in the copy: the others were hushed since
        with store.read() as conn:
            assert tables.members(conn, [2, 4, 5]) == []
            assert tables.events(conn, 5)[1]["text"] == "on my way"
        room.change("KHI-4")  # its gateway brings again what was lost
        last = room.incidents()[-1]
        assert (last.id, last.state, last.owner) == (5, "in_progress", "Chand")
        room.change("KHI-1", criterion="internet.jitter")
        assert len(room.incidents()) == 5


def test_centers_that_were_parted_from_an_incident_are_in_their_own_again(registered: Settings, tmp_path: Path) -> None:
    with opened(registered) as store:
        room = acted(store)
        with room.store.write() as conn:
            work.merge(conn, 2, 1, STANDARDS, "Bilal", "the same cable", NOW)
        backup(store, tmp_path / "copy")
        with room.store.write() as conn:
            work.merge(conn, 3, 1, STANDARDS, "Bilal", "the same cable", NOW)
            assert work.split(conn, 1, ["KHI-2"], STANDARDS, "Bilal", "another cable", NOW + 1).id == 5
            assert work.split(conn, 1, ["KHI-3"], STANDARDS, "Bilal", "and another", NOW + 1).id == 6
            work.merge(conn, 6, 4, STANDARDS, "Bilal", "known", NOW)
        whole = [(one.id, one.state, one.centers) for one in room.incidents()]
    with opened(again(registered, tmp_path / "copy", tmp_path)) as store:
        room = Room(store, now_ms=NOW + 3)
        assert [(one.id, one.state, one.centers) for one in room.incidents()] == whole
        with store.read() as conn:
            members = {number: {one.center for one in tables.members(conn, [number])} for number in (1, 4, 5)}
            assert members == {1: {"KHI-1"}, 4: {"KHI-3", "KHI-5"}, 5: {"KHI-2"}}
            assert [len(tables.members(conn, [number])) for number in (2, 3, 6)] == [0, 0, 0]


def test_an_act_of_a_machine_without_the_key_is_noted_at_the_next_start(registered: Settings, tmp_path: Path) -> None:
    with opened(registered) as store:
        room = acted(store)
        backup(store, tmp_path / "copy")
        store.journal, journal = None, store.journal
        do_all(room)
        store.journal = journal
    started(registered)
    noted = lines(registered)
    started(registered)
    assert lines(registered) == noted
    with opened(again(registered, tmp_path / "copy", tmp_path)) as store:
        found = [(one.state, one.owner) for one in Room(store).incidents()]
    assert found == [("acknowledged", "Ayesha"), ("resolved", ""), ("new", ""), ("merged", ""), ("resolved", "Chand")]


def test_what_was_said_of_a_second_story_holds_again(registered: Settings, tmp_path: Path) -> None:
    key = {"center": "LHR-1", "device": "gtwin", "spool": "0" * 32}
    with opened(registered) as store:
        with store.write() as conn:
            row = {**key, "first_ms": NOW, "last_ms": NOW, "batches": 2, "state": "held"}
            conn.execute(sa.insert(schema.second_stories).values(row))
        backup(store, tmp_path / "copy")
        with store.write() as conn:
            stories.decide(conn, "gtwin", "0" * 32, "refused", "a clone", ActingPerson(name="Asma", now_ms=NOW))
    with opened(again(registered, tmp_path / "copy", tmp_path)) as store, store.read() as conn:
        found = conn.execute(sa.select(schema.second_stories)).one()
    assert (found.state, found.decided_by, found.reason, found.batches) == ("refused", "Asma", "a clone", 2)
