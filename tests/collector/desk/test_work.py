"""What people do with incidents, and what evidence does to their work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from collector.access.accounts.contacts import keep, parse
from collector.access.accounts.policy import Account
from collector.common.scope import EVERYWHERE, Scope
from collector.desk import causes, tables, work
from collector.desk.incident import FLIPS, STEADY_S, WorkError
from collector.desk.view import contacts, queries
from tests.collector.standard.timeless import timeless_standards

Room = Any
STANDARDS = timeless_standards()
HOUR = 3_600_000


def do(room: Room, act: Callable[..., Any], *words: Any, **named: Any) -> Any:
    with room.store.write() as conn:
        return act(conn, *words, now_ms=room.now_ms, **named)


def facts(room: Room, number: int = 1) -> dict[str, Any]:
    with room.store.read() as conn:
        return queries.whole(conn, STANDARDS, room.now_ms, number)


def test_an_acknowledgement_has_an_owner_and_a_note_and_expires(room: Room) -> None:
    room.change("LHR-1")
    do(room, work.acknowledge, 1, "Ayesha", "called PTCL", for_s=3600)
    (one,) = room.incidents()
    assert (one.state, one.owner, one.ack_until_ms) == ("acknowledged", "Ayesha", room.now_ms + HOUR)
    room.passes(59)
    assert room.incidents()[0].state == "acknowledged"
    room.passes(1)
    assert room.incidents()[0].state == "new"
    assert room.acts(told=True) == ["opened", "ack_expired"]
    assert facts(room)["events"][1]["text"] == "called PTCL"


def test_it_reopens_when_it_gets_worse(room: Room) -> None:
    room.change("LHR-1", criterion="internet.latency")
    do(room, work.acknowledge, 1, "Ayesha", "seen")
    room.change("LHR-1", criterion="internet.loss")
    (one,) = room.incidents()
    assert (one.state, one.severity, one.owner) == ("new", "serious", "Ayesha")
    assert room.acts() == ["opened", "acknowledged", "worse"]
    room.change("LHR-1", criterion="internet.jitter")
    assert room.acts() == ["opened", "acknowledged", "worse"]  # no worse than before


def test_evidence_resolves_it_with_its_length(room: Room) -> None:
    room.change("LHR-1")
    do(room, work.start, 1, "Ayesha", "")
    room.passes(25)
    room.change("LHR-1", "clear")
    (one,) = room.incidents()
    assert (one.state, one.lasted_ms(0), one.owner) == ("resolved", 25 * 60_000, "Ayesha")
    assert do(room, work.review, 1, "Bilal", "seen").state == "reviewed"


def test_it_begins_again_within_minutes_as_the_same(room: Room) -> None:
    room.change("LHR-1")
    do(room, work.assign, 1, "Ayesha", "Bilal", "")
    room.change("LHR-1", "clear")
    room.passes(9)
    room.change("LHR-1")
    assert [(one.id, one.state, one.owner) for one in room.incidents()] == [(1, "in_progress", "Ayesha")]
    room.change("LHR-1", "clear")
    room.passes(11)
    room.change("LHR-1")
    assert [one.id for one in room.incidents()] == [1, 2]


def test_what_comes_and_goes_is_told_once_and_once_when_it_rests(room: Room) -> None:
    for flip in range(12):
        room.change("LHR-1", "clear" if flip % 2 else "raised")
        room.passes(2)
    assert len(room.incidents()) == 1
    assert room.acts(told=True) == ["opened", "resolved", "reopened", "resolved", "unstable"]
    assert len(room.acts(told=True)) == FLIPS
    room.passes(STEADY_S / 60 - 3)
    assert room.incidents()[0].is_open
    room.passes(1)
    assert room.acts(told=True)[-1] == "resolved"
    assert room.incidents()[0].state == "resolved"


def test_nobody_is_told_of_what_is_snoozed_until_it_ends(room: Room) -> None:
    room.change("LHR-1", criterion="internet.latency")
    do(room, work.snooze, 1, room.now_ms + HOUR, "Ayesha", "announced work")
    room.change("LHR-1", criterion="internet.loss")
    assert room.acts(told=True) == []
    room.passes(60)
    assert room.acts(told=True) == ["snooze_ended"]


def test_its_end_is_not_told_either_while_it_is_snoozed(room: Room) -> None:
    room.change("LHR-1")
    do(room, work.snooze, 1, room.now_ms + HOUR, "Ayesha", "announced work")
    room.change("LHR-1", "clear")
    assert room.acts(told=True) == []
    assert room.incidents()[0].state == "resolved"


def test_two_causes_in_one_center_are_two(room: Room) -> None:
    room.change("LHR-1", criterion="internet.loss")
    room.change("LHR-1", criterion="seats.usable")
    room.change("LHR-1", criterion="internet.jitter")
    assert [(one.family, one.centers) for one in room.incidents()] == [("line", 1), ("seats", 1)]


def test_closing_by_hand_needs_a_reason_and_lasts_until_the_flag_is_raised_anew(room: Room) -> None:
    room.change("LHR-1")
    with pytest.raises(WorkError, match="resolve: needs a reason"):
        do(room, work.resolve, 1, "Ayesha", " ")
    do(room, work.resolve, 1, "Ayesha", "seen on site, all is well")
    room.change("LHR-1", "clear")
    assert room.acts() == ["opened", "closed"]
    room.passes(20)
    room.change("LHR-1")
    assert [one.state for one in room.incidents()] == ["resolved", "new"]


def test_split_merge_and_cause_by_hand_leave_their_history(room: Room) -> None:
    room.center("LHR-2")
    room.change("LHR-1")
    room.change("LHR-2")
    kept = do(room, work.merge, 2, 1, STANDARDS, person="Ayesha", reason="the same cable")
    assert (kept.id, kept.centers) == (1, 2)
    apart = do(room, work.split, 1, ["LHR-2"], STANDARDS, person="Bilal", reason="its own router")
    assert (apart.scope, apart.place, apart.centers) == ("center", "LHR-2", 1)
    do(room, work.recause, apart.id, "lan_fault", "Bilal", "seen on site")
    room.passes(1)
    found = facts(room, apart.id)
    assert (found["cause"]["name"], found["cause_by"]) == ("lan_fault", "Bilal")
    assert room.acts(1) == ["opened", "merged", "split"]
    assert room.acts(2) == ["opened", "merged"]
    assert room.acts(apart.id) == ["split", "recaused"]
    with pytest.raises(WorkError, match="was taken into 1"):
        do(room, work.note, 2, "Ayesha", "x")
    room.change("LHR-2", "clear")
    assert {one.id: one.state for one in room.incidents()} == {1: "new", 2: "merged", apart.id: "resolved"}


def test_what_has_to_do_with_it_is_linked_both_ways_and_a_ticket_one(room: Room) -> None:
    for code in ("LHR-1", "KHI-1"):
        room.center(code)
        room.change(code)
    ticket = "https://tickets.example.pk/4711?a=1#x"
    with room.store.write() as conn:
        work.link(conn, 1, " #2 ", "Ayesha", "the same mast", room.now_ms)
        work.link(conn, 1, ticket, "Ayesha", "", room.now_ms)
        work.link(conn, 1, "2", "Bilal", "once more", room.now_ms)
        for wrong in (
            "1",
            "99",
            "javascript:alert(1)",
            "ticket 4711",
            "https://a b",
            'https://x"onclick',
            "",
            "9" * 40,
        ):
            with pytest.raises(WorkError):
                work.link(conn, 1, wrong, "Ayesha", "", room.now_ms)
        links = {number: queries.whole(conn, STANDARDS, room.now_ms, number)["links"] for number in (1, 2)}
    assert links == {1: ["2", ticket], 2: ["1"]}


@pytest.mark.parametrize(
    ("act", "words", "problem"),
    [
        (work.acknowledge, (1, "Ayesha", ""), "ack: needs a note"),
        (work.acknowledge, (1, " ", "x"), "name: is empty"),
        (work.acknowledge, (9, "Ayesha", "x"), "incident 9: there is none"),
        (work.snooze, (1, 0, "Ayesha", "x"), "snooze: its end must lie ahead"),
        (work.wait, (1, "the weather", "Ayesha", ""), "is nobody to wait for"),
        (work.recause, (1, "gremlins", "Ayesha", "x"), "cause 'gremlins': is none"),
        (work.review, (1, "Ayesha", "x"), "only one that is resolved"),
        (work.merge, (1, 1, STANDARDS, "Ayesha", "x"), "into itself"),
        (work.split, (1, ["LHR-1"], STANDARDS, "Ayesha", "x"), "not none or all"),
        (work.split, (1, ["LHR-9"], STANDARDS, "Ayesha", "x"), "LHR-9 is not in incident 1"),
    ],
)
def test_what_cannot_be_done_says_why(
    room: Room, act: Callable[..., Any], words: tuple[Any, ...], problem: str
) -> None:
    room.change("LHR-1")
    with pytest.raises(WorkError, match=problem):
        do(room, act, *words)
    assert room.acts() == ["opened"]


def test_priority_is_what_is_lost_in_open_hours(room: Room) -> None:
    room.change("LHR-1")
    room.passes(30)
    assert facts(room)["priority"] == 2.0 * 10 * 30  # serious, ten seats, half an hour
    room.center("LHR-1", opening="Mon-Sat 09:00-12:10")
    assert facts(room)["priority"] == 2.0 * 10 * 10


def test_telephones_are_of_the_provider_and_of_the_company_that_runs_the_feeder(room: Room) -> None:
    room.center("LHR-1", feeder="LESCO F-7", isp="PTCL", city="Lahore", district="Lahore")
    room.change("LHR-1")
    with room.store.write() as conn:
        one = tables.get(conn, 1)
        assert contacts.numbers_of(conn, one) == []
        root = Account("Root", "admin", key="root")
        for kind, name, telephone, scope in (
            ("provider", "PTCL", "1218", EVERYWHERE), ("provider", "Nayatel", "1219", EVERYWHERE),
            ("company", "LESCO", "118", Scope(district=frozenset({"Lahore"}))),
            ("company", "KE", "119", Scope(district=frozenset({"Karachi"}))),
        ):  # fmt: skip
            known = parse({"kind": kind, "name": name, "telephone": telephone}, scope)
            keep(conn, known, root, 1)
        assert contacts.numbers_of(conn, one) == [("PTCL", "1218")]
        power = tables.change(conn, one, {"family": "power"})
        assert contacts.numbers_of(conn, power) == [("LESCO", "118")]


def test_a_cause_that_cannot_be_read_is_none(room: Room) -> None:
    room.change("LHR-1")
    (one,) = room.incidents()
    for text in ("", "{", '{"name":"x","grade":"shown","evidence":[]}'):
        with room.store.write() as conn:
            assert causes.of(tables.change(conn, one, {"cause": text})) is None


def test_flags_on_a_dark_center_are_not_headlines(room: Room) -> None:
    """What was raised before it went dark is hidden: nobody knows whether it still holds."""
    room.change("LHR-1", criterion="seats.usable")
    assert [one["is_hidden"] for one in facts(room)["members"]] == [False]
    with room.store.write() as conn:
        conn.execute(sa.text(
            "INSERT INTO flags (center, criterion, subject, state, since_ms, judged_until_ms, memory, verdict, reason, "
            "standard) VALUES ('LHR-1', 'presence.silent', '', 'raised', 0, 0, '[]', 'below', '{}', 's')"
        ))  # fmt: skip
    assert [one["is_hidden"] for one in facts(room)["members"]] == [True]
