"""A flag's life: what moves it, what must not, and the name of each reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.common.reasons import Reason
from collector.judging.flags.judge import Verdict
from collector.judging.flags.machine import Change, FlagState, alerts, pause, step
from collector.standard.criteria import Criterion, Recovery, Window
from tests.collector.standard.timeless import timeless

BELOW = Verdict("below", Reason("verdict.word"))
MEETS = Verdict("meets", Reason("verdict.word"))  # but not enough to recover
GOOD = Verdict("meets", Reason("verdict.word"), recovers=True)
UNKNOWN = Verdict("unknown", Reason("verdict.no_reading"))
MINUTE = 60_000
ENOUGH = "change.below_in_enough_of_the_last_readings"


def criterion(window: Window, recovery: Window, fresh_s: int = 300) -> Criterion:
    base = timeless().by_id["internet.latency"]
    return replace(base, window=window, recovery=Recovery(90, recovery), fresh_s=fresh_s)


FOR_10_MIN = criterion(Window(for_s=600), Window(for_s=300))
THREE_OF_FOUR = criterion(Window(m=3, n=4), Window(m=2, n=2))
AT_ONCE = criterion(Window(), Window())
FIVE_SHOW = criterion(Window(m=6, n=8, watch=5), Window(m=5, n=5))


def run(limit: Criterion, *verdicts: Verdict, flag: FlagState | None = None) -> tuple[FlagState, list[Change]]:
    """One verdict a minute, from minute 1 on."""
    flag = flag or FlagState()
    changes = []
    for minute, verdict in enumerate(verdicts, 1):
        flag, change = step(flag, verdict, limit, minute * MINUTE)
        changes += [change] if change else []
    return flag, changes


def moves(changes: list[Change]) -> list[tuple[int, str, str]]:
    return [(change.at_ms // MINUTE, change.now, change.reason) for change in changes]


def test_a_flag_is_raised_after_its_whole_duration_and_not_before() -> None:
    flag, changes = run(FOR_10_MIN, *[BELOW] * 10)
    assert (flag.state, flag.since_ms) == ("pending", 1 * MINUTE)
    flag, changes = run(FOR_10_MIN, *[BELOW] * 11)
    assert moves(changes) == [(1, "pending", "change.first_below"), (11, "raised", "change.below_for_long_enough")]
    assert flag.since_ms == 11 * MINUTE


def test_what_chance_brings_is_remembered_and_not_told() -> None:
    flag, changes = run(FIVE_SHOW, BELOW, MEETS, BELOW, BELOW, MEETS, BELOW)
    assert (changes, flag.state, flag.memory) == ([], "clear", (True, False, True, True, False, True))
    flag, changes = run(FIVE_SHOW, BELOW, MEETS, BELOW, BELOW, MEETS, BELOW, BELOW, BELOW)
    assert moves(changes) == [(7, "pending", "change.first_below"), (8, "raised", ENOUGH)]
    assert flag.since_ms == 8 * MINUTE
    flag, changes = run(FIVE_SHOW, *[BELOW] * 5, *[MEETS] * 8)
    assert [(minute, state) for minute, state, _ in moves(changes)] == [(5, "pending"), (13, "clear")]
    assert flag.memory == ()


def test_one_good_reading_ends_the_wait() -> None:
    _, changes = run(FOR_10_MIN, *[BELOW] * 9, MEETS, *[BELOW] * 9)
    assert moves(changes) == [
        (1, "pending", "change.first_below"),
        (10, "clear", "change.met_again_in_time"),
        (11, "pending", "change.first_below"),
    ]


def test_a_criterion_without_a_window_raises_and_clears_at_once() -> None:
    _, changes = run(AT_ONCE, BELOW, GOOD)
    assert moves(changes) == [(1, "raised", "change.below_at_once"), (2, "clear", "change.recovered_at_once")]


def test_three_of_the_last_four_raise_however_they_lie() -> None:
    for order in ([BELOW, BELOW, BELOW], [BELOW, MEETS, BELOW, BELOW], [BELOW, BELOW, MEETS, BELOW]):
        flag, changes = run(THREE_OF_FOUR, *order)
        assert flag.state == "raised", order
        assert changes[-1].reason == "change.below_in_enough_of_the_last_readings"


def test_three_of_five_do_not() -> None:
    flag, _ = run(THREE_OF_FOUR, BELOW, MEETS, MEETS, BELOW, BELOW)
    assert flag.state == "pending"


def test_a_quiet_flag_forgets_so_that_its_row_stays_the_same() -> None:
    flag, changes = run(THREE_OF_FOUR, BELOW, *[MEETS] * 4)
    assert (flag.state, flag.memory) == ("clear", ())
    assert changes[-1].reason == "change.met_again_in_time"


def test_recovery_needs_its_own_stricter_bound() -> None:
    flag, changes = run(AT_ONCE, BELOW, *[MEETS] * 50)
    assert flag.state == "raised"
    assert len(changes) == 1


def test_recovery_has_to_hold() -> None:
    _, changes = run(FOR_10_MIN, *[BELOW] * 11, *[GOOD] * 6)
    assert moves(changes)[2:] == [(12, "recovering", "change.recovering"), (17, "clear", "change.recovery_held")]


def test_falling_back_while_recovering_raises_again() -> None:
    for setback in (BELOW, MEETS):
        flag, changes = run(FOR_10_MIN, *[BELOW] * 11, *[GOOD] * 4, setback)
        assert moves(changes)[2:] == [(12, "recovering", "change.recovering"), (16, "raised", "change.fell_back")]
        assert flag.since_ms == 16 * MINUTE


def test_two_good_tests_in_a_row_clear() -> None:
    flag, changes = run(THREE_OF_FOUR, *[BELOW] * 3, GOOD, MEETS, GOOD, GOOD)
    assert flag.state == "clear"
    assert moves(changes)[-1] == (7, "clear", "change.recovery_held")


@pytest.mark.parametrize("state", ["clear", "pending", "raised", "recovering"])
def test_missing_data_moves_nothing(state: str) -> None:
    flag = FlagState(state, 5, 5, (True,))  # type: ignore[arg-type]  # a parameter is any text
    assert step(flag, UNKNOWN, FOR_10_MIN, 10**9) == (flag, None)


@pytest.mark.parametrize("state", ["clear", "pending", "raised", "recovering"])
@pytest.mark.parametrize("verdict", [BELOW, MEETS, GOOD])
def test_what_is_older_than_what_was_judged_moves_nothing(state: str, verdict: Verdict) -> None:
    flag = FlagState(state, 5, 1000, (True,))  # type: ignore[arg-type]
    assert step(flag, verdict, AT_ONCE, 1000) == (flag, None)
    assert step(flag, verdict, AT_ONCE, 999) == (flag, None)


def test_a_gap_starts_the_wait_anew_since_nobody_knows_what_was_meanwhile() -> None:
    flag, _ = step(FlagState(), BELOW, FOR_10_MIN, 0)
    flag, change = step(flag, BELOW, FOR_10_MIN, 60 * MINUTE)
    assert (flag.state, flag.since_ms, change) == ("pending", 60 * MINUTE, None)
    flag, _ = step(flag, BELOW, FOR_10_MIN, 64 * MINUTE)
    flag, _ = step(flag, BELOW, FOR_10_MIN, 68 * MINUTE)
    flag, change = step(flag, BELOW, FOR_10_MIN, 70 * MINUTE)
    assert change is not None
    assert change.now == "raised"


def test_closing_time_leaves_nothing_half_decided() -> None:
    pending, _ = step(FlagState(), BELOW, FOR_10_MIN, 0)
    after, change = pause(pending, 1)
    assert (after.state, change and change.reason) == ("clear", "change.closed_before_it_was_decided")
    raised, _ = run(AT_ONCE, BELOW)
    assert pause(raised, 10**9) == (raised, None)
    recovering, _ = step(replace(raised), GOOD, FOR_10_MIN, 2 * MINUTE)
    assert pause(recovering, 3 * MINUTE)[0].state == "raised"


@given(st.lists(st.sampled_from([BELOW, MEETS, GOOD, UNKNOWN]), max_size=60), st.sampled_from(["f", "m", "1"]))
def test_every_history_is_an_unbroken_walk(verdicts: list[Verdict], rule: str) -> None:
    limit = {"f": FOR_10_MIN, "m": THREE_OF_FOUR, "1": AT_ONCE}[rule]
    flag, changes = run(limit, *verdicts)
    states = ["clear", *(change.now for change in changes)]
    assert [change.was for change in changes] == states[:-1]
    assert flag.state == states[-1]
    # Nobody is told twice of the same thing: raised and clear alternate.
    alerted = [change.now for change in changes if alerts(change.was, change.now)]
    assert alerted == ["raised", "clear"] * (len(alerted) // 2) + ["raised"] * (len(alerted) % 2)


@given(st.lists(st.sampled_from([BELOW, MEETS, GOOD]), max_size=60), st.integers(1, 59))
def test_missing_readings_never_clear_sooner(verdicts: list[Verdict], gone: int) -> None:
    """Deleting good readings from the end cannot clear a flag that was raised before them."""
    raised, _ = run(AT_ONCE, BELOW)
    flag = raised
    for minute, verdict in enumerate(verdicts[:gone], 2):
        flag, _ = step(flag, UNKNOWN if verdict is GOOD else verdict, AT_ONCE, minute * MINUTE)
    assert flag.state == "raised"


@pytest.mark.parametrize(
    ("was", "now", "alerted"),
    [
        ("clear", "pending", False), ("pending", "raised", True), ("clear", "raised", True),
        ("raised", "recovering", False), ("recovering", "raised", False), ("recovering", "clear", True),
        ("raised", "clear", True), ("pending", "clear", False),
    ],
)  # fmt: skip
def test_people_are_told_of_raised_and_clear_only(was: str, now: str, alerted: bool) -> None:
    assert alerts(was, now) is alerted
