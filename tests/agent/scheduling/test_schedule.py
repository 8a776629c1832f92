"""The plan: phases, slots by the center's clock, the month's budget, what is news."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import msgspec
import pytest

from agent import wire
from agent.common.center_time import CENTER_TIME
from agent.scheduling import schedule

SLOTS = ["08:00-09:00", "10:00-13:00", "19:00-22:00"]
SECRET = b"s" * 32


def at(text: str) -> int:
    """Milliseconds UTC of a time on a center's clock (UTC+5)."""
    local = datetime.fromisoformat(text).replace(tzinfo=CENTER_TIME)
    return round(local.astimezone(UTC).timestamp() * 1000)


# ---------------------------------------------------------------- rounds


def test_gateways_spread_evenly_over_the_cycle() -> None:
    phases = [schedule.phase_s(f"g{number:016x}", 60.0) for number in range(6000)]
    for third in range(3):
        share = sum(20 * third <= phase < 20 * (third + 1) for phase in phases)
        assert 1800 < share < 2200


@pytest.mark.parametrize("begun_s", [0.0, 7.0, 12.5, 59.9, 12_345.6])
def test_every_cycle_has_one_round_at_a_random_moment(begun_s: float) -> None:
    cycle = (begun_s - 12.5) // 60.0
    for chance in (0.0, 0.25, 0.999):
        due_s = schedule.next_round_s(begun_s, 60.0, 12.5, chance)
        assert (due_s - 12.5) // 60.0 == cycle + 1
        assert (due_s - 12.5) % 60.0 == pytest.approx(60.0 * chance)


def test_a_line_that_fails_to_the_cycles_rhythm_is_seen_for_what_it_is() -> None:
    """Down for 3 of every 10 s: rounds at a fixed phase see nothing of it, or nothing else."""
    dice, begun_s, down, rounds = random.Random(7), 0.0, 0, 3000
    for _ in range(rounds):
        begun_s = schedule.next_round_s(begun_s, 10.0, 4.0, dice.random())
        down += begun_s % 10.0 < 3.0
    assert down / rounds == pytest.approx(0.3, abs=0.03)


# ---------------------------------------------------------------- news


def ups(**fields: object) -> wire.UpsReading:
    return msgspec.convert({"kind": "ups", "subject": "u", "output_state": "online", **fields}, wire.UpsReading)


def test_power_news_is_a_change_of_output_battery_or_readability() -> None:
    calm = ups(battery_status="normal")
    assert not schedule.ups_changed(None, calm)
    assert not schedule.ups_changed(calm, ups(battery_status="normal", load_pct=80.0))
    assert schedule.ups_changed(calm, ups(battery_status="low"))
    assert schedule.ups_changed(calm, ups(battery_status="normal", output_state="battery"))
    failed = wire.UpsReading(subject="u", failure=wire.Failure("timeout"))
    assert schedule.ups_changed(calm, failed)
    assert schedule.ups_changed(failed, calm)
    assert not schedule.ups_changed(failed, wire.UpsReading(subject="u", failure=wire.Failure("garbage")))


@pytest.mark.parametrize(
    ("reading", "value"),
    [
        (wire.LinkReading(loss_pct=0.0), "low"),
        (wire.LinkReading(loss_pct=5.0), "normal"),
        (wire.GatewayReading(), "low"),
        (wire.GatewayReading(failure=wire.Failure("timeout")), "normal"),
        (ups(), "low"),
        (ups(output_state="battery"), "normal"),
        (wire.SpeedReading(), "normal"),
    ],
)
def test_a_round_in_which_something_was_wrong_outlives_a_quiet_one(reading: wire.Reading, value: str) -> None:
    assert schedule.value_of([wire.GatewayReading(), reading]) == value


# ---------------------------------------------------------------- power


@pytest.mark.parametrize(
    ("on_battery", "dark_s", "trap_s", "every_s", "reason"),
    [
        (False, None, None, 10.0, "mains"),
        (True, None, None, 2.0, "battery"),
        (True, 599.0, None, 2.0, "battery"),
        (True, 600.0, None, 10.0, "mains"),
        (False, None, 59.0, 2.0, "trap"),
        (False, None, 60.0, 10.0, "mains"),
        (False, 5.0, 1.0, 2.0, "trap"),
        (True, 3600.0, 1.0, 2.0, "trap"),
    ],
)
def test_a_ups_is_looked_at_every_2_s_on_battery_and_after_it_called(
    on_battery: bool, dark_s: float | None, trap_s: float | None, every_s: float, reason: str
) -> None:
    pace = schedule.ups_poll_interval(10.0, on_battery=on_battery, dark_s=dark_s, trap_s=trap_s)
    assert (pace.every_s, pace.reason) == (every_s, reason)


def test_whoever_asks_for_more_than_2_s_gets_it() -> None:
    assert schedule.ups_poll_interval(0.5, on_battery=True, dark_s=None, trap_s=None).every_s == 0.5


NIGHT_MS = 1_790_120_700_000  # 04:45 by the center's clock


def ready(at_ms: int = NIGHT_MS, clock: str = "synced", **fields: object) -> wire.UpsReading:
    stamp = {"wall_ms": at_ms, "mono_ms": 1, "boot": "b", "clock": clock}
    well = {"output_state": "online", "battery_status": "normal", "battery_charge_pct": 100.0}
    return msgspec.convert({"kind": "ups", "at": stamp, **well, **fields}, wire.UpsReading)


@pytest.mark.parametrize(
    ("reading", "why"),
    [
        (None, "not_known"),
        (ready(failure={"cause": "timeout"}), "not_known"),
        (ready(clock="unsynced"), "clock"),
        (ready(NIGHT_MS + 15 * schedule.MINUTE_MS), "not_quiet"),
        (ready(NIGHT_MS - 165 * schedule.MINUTE_MS - 1), "not_quiet"),
        (ready(output_state="battery"), "not_on_mains"),
        (ready(output_state="bypass"), "not_on_mains"),
        (ready(battery_charge_pct=94.0), "not_charged"),
        (ready(battery_status="low"), "not_charged"),
        (ready(), "yes"),
        (ready(battery_charge_pct=None, battery_status=None), "yes"),
    ],
)
def test_a_battery_is_tested_only_by_night_on_mains_charged_and_with_a_clock_to_trust(
    reading: wire.UpsReading | None, why: str
) -> None:
    assert schedule.may_self_test("monthly", 0, "g1ups", reading) == why
    assert schedule.may_self_test("never", 0, "g1ups", reading) == "never"


@pytest.mark.parametrize(("policy", "days"), [("monthly", 30), ("quarterly", 91)])
def test_a_battery_is_tested_again_after_its_days(policy: schedule.SelfTests, days: int) -> None:
    assert schedule.may_self_test(policy, NIGHT_MS - (days - 1) * schedule.DAY_MS, "g1ups", ready()) == "recent"
    assert schedule.may_self_test(policy, NIGHT_MS - days * schedule.DAY_MS, "g1ups", ready()) == "yes"


def test_a_nations_batteries_are_not_tested_in_the_same_minute() -> None:
    at_three = ready(NIGHT_MS - 105 * schedule.MINUTE_MS)
    permits = [schedule.may_self_test("monthly", 0, f"g{number}", at_three) for number in range(300)]
    assert 60 < permits.count("yes") < 180
