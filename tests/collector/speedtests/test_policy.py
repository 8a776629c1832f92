"""Who gets a turn at a measurement server: never too many, in fair order, and nobody starves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from collector.speedtests.policy import (
    ASKS_A_DAY,
    HOLD_MS,
    MOST_BYTES,
    PATIENCE_MS,
    TAIL_MS,
    Decision,
    ServerPlaces,
    State,
    TestRequest,
    decide,
    home,
    may_ask,
    places,
)

NOW = 1_795_000_000_000
ONE = {"s": ServerPlaces(name="s", tests_at_once=1)}


def turn(
    name: str, purpose: str = "routine", asked_ms: int = NOW, state: State = "asked", **facts: object
) -> TestRequest:
    made = TestRequest(
        test_id=name, device=f"g{name}", server="s", purpose=purpose, asked_ms=asked_ms, expires_ms=NOW + 10**7,
        state=state,
    )  # fmt: skip
    return replace(made, **facts)  # type: ignore[arg-type]


def decided(
    turns: list[TestRequest], servers: dict[str, ServerPlaces] = ONE, now_ms: int = NOW
) -> dict[str, tuple[str, str]]:
    return {item.test_id: (item.state, item.reason) for item in decide(turns, servers, now_ms)}


def test_the_longest_waiting_goes_first_and_the_rest_are_told_why_they_wait() -> None:
    found = decided([turn("late", asked_ms=NOW - 1), turn("early", asked_ms=NOW - 2)])
    assert found == {"early": ("granted", "your_turn"), "late": ("asked", "server_full")}


def test_the_desk_goes_first_and_a_retest_next() -> None:
    open_turns = [
        turn("a", asked_ms=NOW - 9),
        turn("b", "retest", NOW - 5),
        turn("c", "manual", NOW - 8),
        turn("d", "desk"),
    ]
    order = [item.test_id for item in decide(open_turns, {"s": ServerPlaces(name="s", tests_at_once=9)}, NOW)]
    assert order == ["d", "b", "a", "c"]


def test_whoever_has_waited_long_goes_before_every_desk() -> None:
    open_turns = [turn("old", asked_ms=NOW - PATIENCE_MS), turn("desk", "desk", NOW - PATIENCE_MS + 1)]
    assert decided(open_turns)["old"] == ("granted", "your_turn")


def test_a_turn_just_over_holds_its_place_until_the_server_has_let_go_of_the_test() -> None:
    just = turn("done", state="done", closed_ms=NOW)
    assert decided([just, turn("next")])["next"] == ("asked", "server_full")
    assert decided([just, turn("next")], now_ms=NOW + TAIL_MS)["next"] == ("granted", "your_turn")


def test_a_gateway_runs_one_test_at_a_time_and_holds_up_no_other() -> None:
    two = {"s": ServerPlaces(name="s", tests_at_once=2)}
    for first in (turn("a", state="granted"), turn("a", asked_ms=NOW - 1)):
        found = decided([first, turn("b", device="ga"), turn("c", asked_ms=NOW + 1)], two)
        assert found["b"] == ("asked", "gateway_busy")
        assert found["c"] == ("granted", "your_turn")


@pytest.mark.parametrize(
    ("given", "after"),
    [
        (turn("a", expires_ms=NOW), ("expired", "too_late")),
        (turn("a", state="granted", expires_ms=NOW), ("expired", "no_result")),
        (turn("a", server="gone"), ("refused", "server_gone")),
        (turn("a", server="gone", state="granted"), ("refused", "server_gone")),
        (turn("a", state="granted", expires_ms=NOW + 1), ("granted", "running")),
    ],
)
def test_what_can_no_longer_be_is_closed_with_its_reason(given: TestRequest, after: tuple[str, str]) -> None:
    assert decided([given]) == {"a": after}


def test_a_place_that_expired_is_given_on_at_once() -> None:
    found = decided([turn("a", state="granted", expires_ms=NOW), turn("b")])
    assert found["b"] == ("granted", "your_turn")


STATES = st.sampled_from(["asked", "granted", "done"])
TURNS = st.lists(
    st.tuples(st.sampled_from("ghijk"), st.sampled_from("st"), st.sampled_from(["desk", "retest", "routine"]),
              st.integers(-PATIENCE_MS * 2, 0), st.integers(-5, HOLD_MS), STATES, st.integers(-TAIL_MS * 2, 0)),
    max_size=30,
)  # fmt: skip


@given(TURNS, st.integers(1, 4))
def test_never_more_at_once_than_places_and_never_two_on_one_line(given: list[tuple], at_once: int) -> None:  # type: ignore[type-arg]
    servers = {name: ServerPlaces(name=name, tests_at_once=at_once) for name in "st"}
    turns = [
        TestRequest(test_id=f"t{n}", device=device, server=server, purpose=purpose, asked_ms=NOW + open_turns,
             expires_ms=NOW + left, state=state, closed_ms=NOW + closed if state == "done" else None)
        for n, (device, server, purpose, open_turns, left, state, closed) in enumerate(given)
    ]  # fmt: skip
    known = {item.test_id: item for item in turns}
    decisions = decide(turns, servers, NOW)
    assert len({decision.test_id for decision in decisions}) == len(decisions)
    new = [known[decision.test_id] for decision in decisions if decision.reason == "your_turn"]
    held = [known[decision.test_id] for decision in decisions if decision.reason == "running"]
    for server, number in Counter(item.server for item in new).items():
        assert number + sum(entry.server == server for entry in held) <= at_once
    lines = Counter(item.device for item in new)
    assert all(lines[device] == 1 for device in lines)
    assert not {item.device for item in new} & {entry.device for entry in held}
    # Work is never left lying: who waits at a server with a free place waits for its own gateway.
    for decision in decisions:
        if decision.reason == "server_full":
            server = known[decision.test_id].server
            assert sum(other.server == server for other in (*new, *held)) >= at_once


def test_nobody_starves_under_a_desk_that_never_stops() -> None:
    waiting = [turn("poor", asked_ms=NOW)]
    for minute in range(60):
        now_ms = NOW + minute * 60_000
        waiting += [turn(f"d{minute}-{n}", "desk", asked_ms=now_ms) for n in range(3)]
        decisions = decide(waiting, ONE, now_ms)
        given = {decision.test_id for decision in decisions if decision.reason == "your_turn"}
        if "poor" in given:
            assert minute == PATIENCE_MS // 60_000
            return
        waiting = [item for item in waiting if item.test_id not in given]
    pytest.fail("an hour was not enough")


# ---------------------------------------------------------------- asking


def ask(**facts: object) -> wire.Ask:
    given = {"id": "t1", "purpose": "routine", "expires_ms": NOW + 1, "expected_bytes": 0, **facts}
    return wire.Ask(v=1, device="g1", want="speed", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, "ok"),
        ({"id": "a b"}, "bad_id"),
        ({"id": "\N{ARABIC LETTER NOON}"}, "bad_id"),
        ({"purpose": "desk"}, "not_yours"),
        ({"purpose": "self-test"}, "not_yours"),
        ({"expected_bytes": MOST_BYTES + 1}, "too_big"),
        ({"expires_ms": NOW}, "late"),
    ],
)
def test_a_wish_is_taken_or_refused_with_its_reason(facts: dict[str, object], reason: str) -> None:
    assert may_ask(ask(**facts), {}, NOW) == reason


@pytest.mark.parametrize("purpose", sorted(ASKS_A_DAY))
def test_a_day_has_so_many_wishes_of_each_purpose(purpose: str) -> None:
    most = ASKS_A_DAY[purpose]  # type: ignore[index]
    assert may_ask(ask(purpose=purpose), {purpose: most - 1}, NOW) == "ok"
    assert may_ask(ask(purpose=purpose), {purpose: most}, NOW) == "too_many"


# ---------------------------------------------------------------- servers


def test_a_center_keeps_its_server_and_servers_share_centers_by_their_places() -> None:
    servers = [ServerPlaces(name="a", tests_at_once=10), ServerPlaces(name="b", tests_at_once=30)]
    chosen = {f"C-{n}": home(f"C-{n}", servers) for n in range(4000)}
    share = Counter(item.name for item in chosen.values() if item)
    assert 0.70 < share["b"] / 4000 < 0.80
    more = [*servers, ServerPlaces(name="c", tests_at_once=10)]
    moved = [code for code, was in chosen.items() if (now := home(code, more)) and now != was]
    assert all(home(code, more) == more[2] for code in moved)  # a new server takes its share, nobody else moves
    assert len(moved) < 1200


def test_a_retest_avoids_a_server_when_another_is_there() -> None:
    a, b = ServerPlaces(name="a", tests_at_once=1), ServerPlaces(name="b", tests_at_once=1)
    assert home("C", [a, b], avoid="a") == b
    assert home("C", [a], avoid="a") == a
    assert home("C", []) is None


@pytest.mark.parametrize(("bandwidth", "line", "at_once"), [(1000, 100, 10), (999, 100, 9), (50, 100, 1)])
def test_a_server_runs_as_many_tests_as_its_line_carries(bandwidth: float, line: float, at_once: int) -> None:
    assert places(bandwidth, line) == at_once


def test_decisions_are_a_function_of_what_is_given() -> None:
    turns = [turn(f"t{n}", asked_ms=NOW - n % 7) for n in range(50)]
    assert decide(turns, ONE, NOW) == decide(list(turns), ONE, NOW)
    assert {item.test_id for item in decide(turns[::-1], ONE, NOW) if item.state == "granted"} == {
        item.test_id for item in decide(turns, ONE, NOW) if item.state == "granted"
    }
    assert isinstance(decide(turns, ONE, NOW)[0], Decision)
