"""What seats and power supplies say that no real ones do, and what honest ones may say."""

from __future__ import annotations

import math
import random

import pytest

from collector.judging.patterns.limits import RULES
from collector.judging.patterns.power import UpsValues, contradicted, never_cut, ups_patterns
from collector.judging.patterns.repeats import repeated_values
from collector.judging.patterns.seats import RollCall, one_boot, seats_alike, twin_seats

NOW, MINUTE = 1_795_071_600_000, 60_000


def day(twins: bool, seats: int = 6, seed: int = 5) -> list[RollCall]:
    dice = random.Random(seed)
    calls = []
    for n in range(RULES.rounds + 10):
        cpu = [round(dice.uniform(0, 60), 1) for _ in range(seats)]
        memory = [round(dice.uniform(20, 80), 1) for _ in range(seats)]
        if twins:
            cpu[1], memory[1] = cpu[0], memory[0]
        names = [f"s{i}" for i in range(seats)]
        calls.append(RollCall(at_ms=NOW + n * 5 * MINUTE, seats=names, cpu_pct=cpu, memory_pct=memory))
    return calls


def test_two_names_of_one_machine_are_found_and_honest_seats_are_not() -> None:
    found = twin_seats(day(twins=True))
    assert found is not None
    assert (found.params["n"], found.params["seats"]) == (2, ["s0", "s1"])
    assert twin_seats(day(twins=False)) is None
    assert twin_seats(day(twins=True)[: RULES.rounds - 1]) is None


def test_idle_pcs_that_always_say_the_same_are_no_twins() -> None:
    calls = [RollCall(at_ms=NOW + n, seats=["a", "b"], cpu_pct=[0.0, 0.0], memory_pct=[20.0, 20.0]) for n in range(90)]
    assert twin_seats(calls) is None


def uptimes(*up_s: float) -> RollCall:
    return RollCall(at_ms=NOW, seats=[f"s{i}" for i in range(len(up_s))], uptime_s=list(up_s))


def test_machines_of_one_host_began_at_once_and_pcs_after_a_cut_did_not() -> None:
    found = one_boot(uptimes(900.0, 900.2, 900.4, 900.6, 900.9))
    assert found is not None
    assert found.params["n"] == 5
    assert one_boot(uptimes(900, 912, 925, 931, 944, 958)) is None
    assert one_boot(uptimes(900.0, 900.4, 901.0)) is None


def ups(count: int, volts=lambda n: 228.0, load=30.0, **more) -> list[UpsValues]:
    return [
        UpsValues(at_ms=NOW + n * MINUTE, subject="u", state="online", volts=volts(n), load_pct=load, runtime_s=1800,
                  **more)
        for n in range(count)
    ]  # fmt: skip


def test_values_that_stand_still_are_found() -> None:
    assert [name for name, _ in ups_patterns(ups(RULES.frozen), [])] == ["ups_frozen"]
    assert list(ups_patterns(ups(RULES.frozen - 1), [])) == []
    assert list(ups_patterns(ups(900, volts=lambda n: 226.0 + n % 4), [])) == []


def test_a_ups_that_carries_nothing_beside_seats_at_work_is_found() -> None:
    work = [NOW + n * MINUTE for n in range(900)]
    empty = ups(900, volts=lambda n: 226.0 + n % 4, load=0.0)
    assert [name for name, _ in ups_patterns(empty, work)] == ["ups_unloaded"]
    assert list(ups_patterns(empty, [])) == []


def test_a_center_without_a_cut_among_neighbours_with_many_is_found() -> None:
    feeders = dict.fromkeys(["a", "b", "c", "d"], "F-7") | {"e": "F-8"}
    found = never_cut({"a": 9, "b": 8, "c": 7, "d": 0, "e": 0}, feeders)
    assert list(found) == ["d"]
    assert never_cut({"a": 9, "b": 8, "d": 0}, feeders) == {}
    assert never_cut({"a": 2, "b": 2, "c": 2, "d": 0}, feeders) == {}


def test_a_gateway_that_dies_while_its_ups_has_plenty_is_found() -> None:
    values = ups(10)
    assert contradicted([NOW + 10 * MINUTE], values) is not None
    assert contradicted([NOW + 60 * MINUTE], values) is None
    short = [UpsValues(at_ms=NOW, subject="u", state="battery", runtime_s=60)]
    assert contradicted([NOW + MINUTE], short) is None


def alike(code: str, count: int, whole: int = 6) -> list[str]:
    seats = [f"s{n}" for n in range(whole)]
    faults = {seat: {f"seat_fault.{code}", "seat_fault.disk"} for seat in seats[:count]}
    return [name for name, _ in seats_alike(RollCall(at_ms=NOW, seats=seats, faults=faults))]


def test_what_a_gateway_says_that_seats_have_in_common_is_found() -> None:
    assert [alike("one_machine", count) for count in (1, 2)] == [[], ["one_machine"]]
    assert [alike("one_address", count) for count in (3, 4)] == [[], ["one_address"]]
    assert [alike("virtual", count) for count in (3, 4)] == [[], ["virtual_seats"]]
    assert alike("one_address", 4, whole=12) == []  # some behind a router of their own
    gone = RollCall(
        at_ms=NOW, seats=["s9"], faults={"s1": {"seat_fault.one_machine"}, "s2": {"seat_fault.one_machine"}}
    )
    assert list(seats_alike(gone)) == []


def noise(count: int, seed: int) -> list[int]:
    """Of a UPS that says whole volts and whole per cent."""
    dice = random.Random(seed)
    return [dice.randint(224, 232) * 100 + dice.randint(20, 40) for _ in range(count)]


def repeated(series: list[int], begin: int) -> int:
    return repeated_values(series, series, begin)


def test_a_day_that_is_said_again_is_found_wherever_it_begins() -> None:
    before = noise(2000, 1)
    assert repeated([*before, *before[300:700]], len(before)) == 400
    assert repeated([*before, *noise(17, 2), *before[1000:1200], *noise(50, 3)], len(before)) >= 200
    assert repeated([*before, *before[300:312]], len(before)) == 0


def test_a_recording_that_goes_round_is_found() -> None:
    assert repeated(noise(200, 1) * 8, 800) >= 600


@pytest.mark.parametrize("again", [1, 2, 5], ids=lambda days: f"on {days} days")
@pytest.mark.parametrize("step_v", [1.0, 3.0])
def test_a_single_hour_of_another_day_is_found(step_v: float, again: int) -> None:
    """Of a UPS whose load and time left stand still: mains in whole volts, or in tenths of quieter ones."""
    hour = volts(60, step_v, 7)
    series = [*volts(1440, step_v, 1), *hour]
    for day in range(again):
        series += [*volts(707, step_v, 100 + day), *hour, *volts(673, step_v, 200 + day)]
    assert repeated(series, len(series) - 1440) >= 59


def volts(count: int, step_v: float, seed: int, period: int = 1440) -> list[int]:
    """Whole volts of mains that drift by so much a minute, and lower in the evening."""
    dice, value, series = random.Random(seed), 228.0, []
    for minute in range(count):
        value += dice.gauss(0, step_v) - 0.02 * (value - 228)
        series.append(round(value + 4 * math.sin(minute / period * 2 * math.pi)))
    return series


@pytest.mark.parametrize("step_v", [0.02, 0.1, 0.3, 1.0, 3.0])
def test_honest_mains_in_whole_volts_repeat_nothing(step_v: float) -> None:
    for seed in range(10):
        assert repeated(volts(8 * 1440, step_v, seed), 7 * 1440) == 0


def test_a_charge_that_goes_the_same_way_after_each_cut_repeats_nothing() -> None:
    """Between them the mains do as they do; a regulator shows them as 230."""
    series, volts = [], []
    for day in range(8):
        series += [1800] * (900 + 7 * day) + [*range(600, 1800, 20)] + [1800] * (480 - 7 * day)
        volts += [230] * 1440
    assert repeated_values(series, volts, 7 * 1440) == 0


def test_honest_noise_and_values_that_stand_still_repeat_nothing() -> None:
    for seed in range(20):
        assert repeated(noise(8 * 1440, seed), 7 * 1440) == 0
    assert repeated([22_830] * 3000, 1500) == 0
    assert repeated([22_830, 22_930] * 1500, 1500) == 0
