"""Cuts timed from UPS readings, and what they say together of a battery."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.common.reasons import Reason
from agent.wire import UpsReading
from collector.judging.flags.backup import Charge, Cut, battery, charge_of, cuts_in, slope_a_day, with_boots
from collector.judging.flags.gap_facts import Boot

MINUTE = 60_000
DAY = 86_400_000
START = 1_770_000_000_000


def read(minute: float, on_battery: bool | None, pct: float | None = None, **more: float) -> Charge:
    return Charge(
        at_ms=START + round(minute * MINUTE), on_battery=on_battery, charge_pct=pct, id=f"m{minute:g}", **more
    )


STORY = [
    read(0, False, 100), read(1, True, 99, load_pct=40), read(2, True, 90, load_pct=50), read(11, True, 50),
    read(12, False, 49), read(60, False, 80), read(130, False, 96),
]  # fmt: skip


def died(minute: float, dark_minutes: float, end: str = "power") -> Boot:
    return Boot(at_ms=START + round(minute * MINUTE), previous_end=end, dark_s=dark_minutes * 60, id="b")


def test_a_cut_lasts_from_the_first_reading_on_battery_to_the_first_on_mains() -> None:
    (cut,) = cuts_in(STORY)
    assert (cut.from_ms, cut.to_ms) == (START + MINUTE, START + 12 * MINUTE)
    assert cut.carried is True
    assert (cut.backup_s, cut.load_pct, cut.recharge_s) == (660, 45, 118 * 60)
    assert cut.evidence == (
        Reason.of("evidence.cut_begins", reading="m1"),
        Reason.of("evidence.cut_ends", reading="m12"),
    )
    # Ten minutes used 49 of a hundred percent.
    assert cut.whole_s == pytest.approx(600 * 100 / 49)


def test_what_the_ups_says_of_its_time_on_battery_puts_the_beginning_right() -> None:
    (cut,) = cuts_in([read(5, True, on_battery_s=120)])
    assert cut.from_ms == START + 3 * MINUTE
    (unbelieved,) = cuts_in([read(5, True, on_battery_s=9e9)])
    assert unbelieved.from_ms == START + 5 * MINUTE


@pytest.mark.parametrize(
    ("state", "self_test", "on_battery"),
    [("battery", None, True), ("battery", "passed", True), ("battery", "running", None), ("online", "running", False)],
)
def test_a_battery_under_test_says_nothing_of_the_mains(state: Any, self_test: Any, on_battery: bool | None) -> None:
    assert charge_of(UpsReading(output_state=state, self_test=self_test), START, "m0").on_battery is on_battery


def test_a_cut_that_goes_on_is_neither_carried_nor_not() -> None:
    (cut,) = cuts_in(STORY[:3])
    assert cut.carried is None
    assert battery([cut], 1800).cuts == 0


def test_a_machine_that_went_down_in_it_makes_it_not_carried() -> None:
    known = [read(1, True, 100), read(20, True, 3), read(60, False, 2)]
    (cut,) = cuts_in(known)
    fallen = with_boots(cut, [died(59, 38.5)])
    assert (fallen.carried, fallen.backup_s) == (False, 19.5 * 60)
    assert fallen.evidence[-1] == Reason.of("evidence.gave_out", reading="b", field="previous_end", word="power")
    assert with_boots(fallen, [died(59, 38.5)]) == fallen


@pytest.mark.parametrize("boot", [died(59, 38.5, "killed"), died(300, 5), died(0.5, 0.2)])
def test_an_agent_that_was_killed_or_went_down_at_another_time_changes_no_cut(boot: Boot) -> None:
    (cut,) = cuts_in([read(1, True, 100), read(20, True, 3), read(60, False, 2)])
    assert with_boots(cut, [boot]) == cut


def test_readings_of_its_end_and_beginning_put_a_cut_right_whenever_they_come() -> None:
    (cut,) = cuts_in([read(10, True, 60), read(90, False), read(12, False), read(1, True, 99), read(5, True, 80)])
    assert (cut.noted_ms, cut.from_ms, cut.to_ms) == (START + MINUTE, START + MINUTE, START + 12 * MINUTE)
    assert cut.charge_from_pct == 99


def test_a_battery_that_is_called_upon_again_was_not_full_between() -> None:
    first, second = cuts_in(
        [read(1, True, 90), read(5, False, 60), read(9, True, 50), read(12, False, 60), read(99, False, 97)]
    )
    assert (first.to_ms, first.recharge_s) == (START + 5 * MINUTE, None)
    assert (second.to_ms, second.recharge_s) == (START + 12 * MINUTE, 87 * 60)


def test_a_ups_that_cannot_be_read_says_neither() -> None:
    assert cuts_in([read(1, None), read(2, None)]) == ()


@given(st.lists(st.tuples(st.integers(0, 300), st.booleans()), unique_by=lambda item: item[0]), st.randoms())
def test_cuts_come_out_the_same_in_any_order(words: list[tuple[int, bool]], order: random.Random) -> None:
    readings = [read(minute, on_battery, on_battery_s=float(minute % 7 * 30)) for minute, on_battery in sorted(words)]
    whole = cuts_in(readings)
    order.shuffle(readings)
    assert cuts_in(readings) == whole
    for cut in whole:
        assert cut.from_ms <= cut.last_ms
        assert cut.to_ms is None or cut.last_ms < cut.to_ms
    for before, after in itertools.pairwise(whole):
        assert before.to_ms is not None
        assert before.to_ms <= after.from_ms


# ---------------------------------------------------------------- together


def gave_out(day: float, minutes: float, load_pct: float | None = None) -> Cut:
    from_ms = START + round(day * DAY)
    end_ms = from_ms + round(minutes * MINUTE)
    loads = 0 if load_pct is None else 1
    return Cut(
        noted_ms=from_ms, from_ms=from_ms, last_ms=end_ms, died_ms=end_ms, to_ms=end_ms + 10 * MINUTE,
        load_sum_pct=load_pct or 0.0, loads=loads,
    )  # fmt: skip


def test_the_observed_backup_is_the_shortest_that_gave_out_or_the_longest_carried() -> None:
    carried = Cut(noted_ms=START, from_ms=START, last_ms=START + 8 * MINUTE, to_ms=START + 9 * MINUTE)
    only = battery([carried], None)
    assert (only.observed_min, only.gave_out, only.carried, only.not_carried) == (9.0, False, 1, 0)
    both = battery([carried, gave_out(1, 31, 40), gave_out(2, 35, 40)], None)
    assert (both.observed_min, both.gave_out, both.load_pct, both.not_carried) == (31.0, True, 40.0, 2)


def test_a_battery_that_loses_a_minute_a_week_falls_below_when_the_line_says() -> None:
    verdict = battery([gave_out(7 * week, 40 - week) for week in range(8)], 1800)
    assert verdict.trend_min_a_month == pytest.approx(-4.3, abs=0.1)
    assert verdict.below_ms == pytest.approx(START + 70 * DAY, abs=DAY)


def test_one_odd_cut_does_not_move_the_trend() -> None:
    cuts = [gave_out(7 * week, 40 - week) for week in range(8)]
    odd = [*cuts[:4], gave_out(28, 5), *cuts[5:]]
    assert battery(odd, 1800).below_ms == pytest.approx(START + 70 * DAY, abs=3 * DAY)


def test_twice_the_load_for_half_the_time_is_the_same_battery() -> None:
    cuts = [gave_out(7 * week, 40 if week % 2 else 20, 30 if week % 2 else 60) for week in range(8)]
    assert battery(cuts, 1800).trend_min_a_month == pytest.approx(0)


@pytest.mark.parametrize(
    "cuts",
    [
        [gave_out(day, 40 - day) for day in range(5)],  # too short a time
        [gave_out(20 * n, 40 - n) for n in range(4)],  # too few
        [gave_out(7 * n, 40 + n) for n in range(8)],  # it does not fall
        [gave_out(7 * n, random.Random(n).uniform(20, 40)) for n in range(9)],  # they disagree
        [gave_out(30 * n, 400 - 0.01 * n) for n in range(8)],  # far away
    ],
    ids=["days", "cuts", "rises", "noise", "far"],
)
def test_no_date_is_named_without_good_reason(cuts: list[Cut]) -> None:
    assert battery(cuts, 1800).below_ms is None


def test_without_cuts_nothing_is_claimed() -> None:
    verdict = battery([], 1800)
    assert (verdict.cuts, verdict.observed_min, verdict.whole_min, verdict.below_ms) == (0, None, None, None)
    assert slope_a_day([]) is None


def test_a_battery_that_was_replaced_is_not_judged_by_the_one_before() -> None:
    old = [gave_out(day, 40 - day / 10) for day in range(0, 200, 20)]
    new = [gave_out(day, 60) for day in (210, 225)]
    assert battery([*old, new[0]], 1800).observed_min == 22  # one good cut may be an odd one
    found = battery([*old, *new], 1800)
    assert (found.observed_min, found.whole_min, found.trend_min_a_month, found.below_ms) == (60, 60, None, None)
    assert (found.cuts, found.not_carried) == (12, 12)
    worn = [gave_out(240 + day, 60 - day / 10) for day in range(0, 200, 20)]
    assert battery([*old, *new, *worn], 1800).observed_min == 42


def test_cuts_that_differ_are_one_battery() -> None:
    cuts = [gave_out(10 * number, minutes) for number, minutes in enumerate((40, 30, 42, 28, 41, 33, 44))]
    assert battery(cuts, 1800).observed_min == 28
