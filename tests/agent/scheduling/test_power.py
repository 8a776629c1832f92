"""UPSs whose mains goes, whose battery ends, who fall silent, repeat themselves, call, and test their batteries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent import wire
from agent.config import UpsSection
from agent.probes.probe import ProbeFailed
from agent.scheduling import power
from agent.scheduling.power import Known, PowerWatch, SelfTest, SelfTestBook, update_known
from agent.spool.record import Value
from tests.helpers.waiting import until

NIGHT_MS = 1_790_120_700_000  # 04:45 by the center's clock: every gateway's quiet minute has begun
Kept = list[tuple[wire.UpsReading, Value]]


def at(second: float) -> wire.Stamp:
    return wire.Stamp(wall_ms=NIGHT_MS + round(second * 1000), mono_ms=round(second * 1000), boot="b", clock="synced")


def reading(second: float, state: Any = "online", **fields: Any) -> wire.UpsReading:
    return wire.UpsReading(at=at(second), subject="ups", output_state=state, **fields)


def silent(second: float) -> wire.UpsReading:
    return wire.UpsReading(at=at(second), subject="ups", failure=wire.Failure("timeout", "no answer"))


def tell(*readings: wire.UpsReading) -> list[wire.UpsReading]:
    known = Known()
    news = []
    for item in readings:
        known, kept = update_known(known, item)
        news.append(kept)
    return news


# ---------------------------------------------------------------- staleness


def test_a_silent_ups_is_unreadable_since_the_first_look_in_vain_and_repeats_no_value() -> None:
    first, *failed, back = tell(reading(0), silent(10), silent(20), silent(30), reading(40))
    assert [item.unreadable_since_ms for item in failed] == [at(10).wall_ms] * 3
    assert all(item.output_state is None and item.battery_charge_pct is None for item in failed)
    assert (first.unreadable_since_ms, back.unreadable_since_ms) == (None, None)


def test_silence_that_begins_again_is_counted_anew() -> None:
    assert tell(silent(0), reading(10), silent(20))[-1].unreadable_since_ms == at(20).wall_ms


def frozen(second: float) -> wire.UpsReading:
    return reading(second, "battery", on_battery_s=35.0, battery_charge_pct=80.0)


def test_a_card_that_counts_no_second_for_ten_minutes_on_battery_is_not_believed() -> None:
    news = tell(*(frozen(second) for second in range(0, 700, 100)))
    assert [item.failure is None for item in news] == [True] * 6 + [False]
    assert news[-1].failure is not None
    assert news[-1].failure.cause == "frozen"
    assert news[-1].unreadable_since_ms == at(0).wall_ms
    assert news[-1].battery_charge_pct is None


def test_a_card_that_counts_is_believed_however_coarse_its_other_values() -> None:
    counting = [reading(s, "battery", on_battery_s=float(s + 1), battery_charge_pct=80.0) for s in range(0, 3000, 100)]
    assert all(item.failure is None for item in tell(*counting))


def test_a_ups_that_does_not_count_its_seconds_cannot_be_called_frozen() -> None:
    same = [reading(second, "battery", battery_charge_pct=80.0) for second in range(0, 3000, 100)]
    assert all(item.failure is None for item in tell(*same))


def test_frozen_values_that_move_again_are_believed_again() -> None:
    news = tell(frozen(0), frozen(650), reading(660, "battery", on_battery_s=40.0))
    assert [item.failure is None for item in news] == [True, False, True]


# ---------------------------------------------------------------- the last gasp


def gasps(*readings: wire.UpsReading) -> list[str | None]:
    return [item.last_gasp for item in tell(*readings)]


def test_low_battery_is_gasped_once_a_discharge_from_the_second_look_on() -> None:
    low = [reading(s, "battery", battery_status="low") for s in (10, 20, 22)]
    again = [reading(s, "battery", battery_status="depleted") for s in (50, 52)]
    news = gasps(reading(0, "battery", battery_status="normal"), *low, reading(30), *again)
    assert news == [None, None, "battery_low", None, None, None, "battery_low"]


def test_a_word_that_stands_for_one_look_is_no_gasp() -> None:
    words = ("normal", "low", "normal", "low", "normal")
    assert gasps(*(reading(s, "battery", battery_status=word) for s, word in enumerate(words))) == [None] * 5


@pytest.mark.parametrize(
    ("fields", "gasp"),
    [
        ({"battery_charge_pct": 97.0, "runtime_s": 1600.0}, None),
        ({"battery_charge_pct": 97.0}, None),
        ({"runtime_s": 1600.0}, None),
        ({"battery_charge_pct": 40.0, "runtime_s": 1600.0}, "battery_low"),
        ({"battery_charge_pct": 12.0}, "battery_low"),
        ({"runtime_s": 600.0}, "battery_low"),
        ({}, "battery_low"),
    ],
)
def test_low_is_urgent_unless_charge_or_runtime_contradicts(fields: dict[str, float], gasp: str | None) -> None:
    assert gasps(*(reading(s, "battery", battery_status="low", **fields) for s in (0, 2)))[-1] == gasp


def test_a_ups_that_never_says_low_gasps_by_its_last_two_minutes() -> None:
    runtimes = (300.0, 121.0, 120.0, 110.0, 60.0)
    news = gasps(*(reading(s, "battery", runtime_s=runtime) for s, runtime in enumerate(runtimes)))
    assert news == [None, None, None, "runtime_short", None]


def test_a_short_runtime_that_never_moves_is_not_believed_against_a_full_battery() -> None:
    full = {"battery_charge_pct": 100.0}
    assert gasps(*(reading(s, "battery", runtime_s=76.0, **full) for s in range(5))) == [None] * 5
    falling = gasps(*(reading(s, "battery", runtime_s=100.0 - s, **full) for s in range(4)))
    assert falling == [None, None, "runtime_short", None], "a battery that is worn out"


def test_nothing_is_urgent_in_a_calibration_nor_after_the_mains_is_back() -> None:
    calibrating = {"self_test": "running", "input_voltage_v": 231.0, "battery_status": "low", "runtime_s": 60.0}
    assert gasps(*(reading(s, "battery", **calibrating) for s in range(0, 2400, 100))) == [None] * 24
    back = [reading(s, "online", battery_status="low", runtime_s=30.0) for s in (4, 6, 8)]
    assert gasps(reading(0, "battery"), reading(2, "battery", battery_status="low"), *back) == [None] * 5


def test_silence_while_on_battery_is_a_gasp_and_on_mains_it_is_not() -> None:
    assert tell(reading(0, "battery"), silent(2))[-1].last_gasp == "comms_lost"
    assert tell(reading(0, "online"), silent(2))[-1].last_gasp is None


def test_low_battery_on_mains_is_no_gasp() -> None:
    assert tell(reading(0, "online", battery_status="low", runtime_s=10.0))[-1].last_gasp is None


def test_every_reason_is_said_for_itself() -> None:
    news = tell(
        reading(0, "battery", runtime_s=100.0),
        reading(2, "battery", battery_status="low", runtime_s=50.0),
        reading(4, "battery", runtime_s=48.0),
        silent(6),
        silent(8),
    )
    assert [item.last_gasp for item in news] == [None, "battery_low", "runtime_short", "comms_lost", None]


# ---------------------------------------------------------------- the watch


class Device:
    """Answers what its play says, one act a look; the last for ever. Counts the looks."""

    def __init__(self, *acts: wire.UpsReading) -> None:
        self.acts = acts
        self.looks = 0

    async def look(self, _ups: UpsSection) -> Sequence[wire.Reading]:
        self.looks += 1
        return [self.acts[min(self.looks, len(self.acts)) - 1]]


async def no_test(_ups: UpsSection) -> None:
    raise AssertionError("no self-test was asked for")


def watch(folder: Path, device: Device, kept: Kept, ups: UpsSection | None = None, **parts: Any) -> PowerWatch:
    async def keep(readings: Sequence[wire.Reading], value: Value) -> None:
        for item in readings:
            assert isinstance(item, wire.UpsReading)
            kept.append((item, value))

    given: dict[str, Any] = {"device": "g1", "poll": device.look, "keep": keep, "start_test": no_test}
    given["book"] = SelfTestBook(folder)
    return PowerWatch([ups or UpsSection(name="ups", host="192.0.2.1")], **given | parts)


def test_news_is_kept_at_once_as_of_high_value_and_quiet_looks_wait_for_the_round(tmp_path: Path) -> None:
    device = Device(reading(0), reading(10), reading(20, "battery"), reading(30))
    kept: Kept = []

    async def story() -> None:
        own = watch(tmp_path, device, kept)
        await own.poll("ups")
        await own.poll("ups")
        assert kept == []
        assert own.news() == [reading(10)]
        await own.poll("ups")
        assert kept == [(reading(20, "battery"), "high")]
        assert own.news() == []
        await own.poll("ups")
        assert kept[1:] == [(reading(30), "high")]

    asyncio.run(story())


def test_on_battery_nothing_waits_for_the_round(tmp_path: Path) -> None:
    device = Device(reading(0), *(reading(s, "battery", battery_charge_pct=99.0 - s) for s in range(2, 60, 2)))
    kept: Kept = []
    clock = [100.0]

    async def story() -> None:
        own = watch(tmp_path, device, kept, now_s=lambda: clock[-1])
        for _ in range(16):
            clock.append(clock[-1] + 2)
            await own.poll("ups")

    asyncio.run(story())
    assert [value for _reading, value in kept] == ["high", "normal", "normal"]
    charges = [kept_reading.battery_charge_pct for kept_reading, _value in kept]
    assert charges == [97.0, 87.0, 77.0]  # every 10 s of it


def test_a_ups_that_calls_is_looked_at_at_once_and_calls_do_not_add_up(tmp_path: Path) -> None:
    device = Device(reading(0))

    async def story() -> None:
        own = watch(tmp_path, device, [], UpsSection(name="ups", host="192.0.2.1", poll_s=3600))
        running = asyncio.create_task(own.run())
        await until(lambda: device.looks == 1)
        for _ in range(1000):
            own.trap_received("ups")
        own.trap_received("a stranger")
        await until(lambda: device.looks == 2)
        await asyncio.sleep(power.MIN_PAUSE_S * 1.5)
        assert device.looks == 2
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(story())


def test_a_slow_ups_does_not_hold_up_another(tmp_path: Path) -> None:
    looks = {"slow": 0, "quick": 0}

    async def look(ups: UpsSection) -> Sequence[wire.Reading]:
        looks[ups.name] += 1
        await asyncio.sleep(3600 if ups.name == "slow" else 0)
        return [wire.UpsReading(at=at(0), subject=ups.name)]

    async def keep(_readings: Sequence[wire.Reading], _value: Value) -> None:
        return None

    async def story() -> None:
        upses = [UpsSection(name=name, host="192.0.2.1", poll_s=0.01) for name in looks]
        own = PowerWatch(upses, device="g1", poll=look, keep=keep, start_test=no_test, book=SelfTestBook(tmp_path))
        running = asyncio.create_task(own.run())
        await until(lambda: looks["quick"] >= 2)
        assert looks["slow"] == 1
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(story())


# ---------------------------------------------------------------- self-tests


def well(second: float, **fields: Any) -> wire.UpsReading:
    return reading(second, battery_status="normal", battery_charge_pct=100.0, **fields)


def a_tested_ups() -> UpsSection:
    return UpsSection(name="ups", host="192.0.2.1", self_test="monthly", poll_s=0.01)


def test_a_self_test_is_noted_before_it_starts_and_runs_once(tmp_path: Path) -> None:
    started: list[SelfTest | None] = []
    kept: Kept = []
    device = Device(well(0), *(well(s, self_test="running") for s in (20, 21)), well(30, self_test="passed"))

    async def start(ups: UpsSection) -> None:
        started.append(SelfTestBook(tmp_path).of(ups.name))

    async def story() -> None:
        own = watch(tmp_path, device, kept, a_tested_ups(), start_test=start)
        running = asyncio.create_task(own.run())
        await until(lambda: len(kept) == 2)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(story())
    assert started == [SelfTest(NIGHT_MS)]
    assert [(kept_reading.self_test, kept_reading.self_test_ms) for kept_reading, _value in kept] == [
        ("running", NIGHT_MS),
        ("passed", NIGHT_MS),
    ]


def test_a_self_test_that_was_refused_is_reported_and_not_tried_again_that_night(tmp_path: Path) -> None:
    kept: Kept = []
    tries: list[str] = []
    device = Device(well(0), well(5), well(20))

    async def refuse(ups: UpsSection) -> None:
        tries.append(ups.name)
        raise ProbeFailed("refused", "the card lets nobody write")

    async def story() -> None:
        own = watch(tmp_path, device, kept, a_tested_ups(), start_test=refuse)
        running = asyncio.create_task(own.run())
        await until(lambda: device.looks >= 3)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(story())
    assert tries == ["ups"]
    assert [kept_reading.self_test for kept_reading, _value in kept] == ["refused"]


def test_the_result_of_the_test_before_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    book = SelfTestBook(tmp_path)
    book.record("ups", SelfTest(at(0).wall_ms))

    device = Device(well(2), well(5, self_test="passed"), well(20, self_test="failed"))
    kept: Kept = []

    async def story() -> None:
        own = watch(tmp_path, device, kept, book=book)
        for _ in device.acts:
            await own.poll("ups")

    asyncio.run(story())
    assert [(kept_reading.self_test, kept_reading.at) for kept_reading, _value in kept] == [("failed", at(20))]


def test_a_ups_on_battery_just_after_it_was_told_to_test_it_is_testing(tmp_path: Path) -> None:
    book = SelfTestBook(tmp_path)
    book.record("ups", SelfTest(at(0).wall_ms))
    device = Device(reading(1, "battery"), reading(3, "battery", self_test="passed"), reading(20, "battery"))
    kept: Kept = []

    async def story() -> None:
        own = watch(tmp_path, device, kept, book=book)
        for _ in range(3):
            await own.poll("ups")
            kept.extend((change, "low") for change in own.news() if isinstance(change, wire.UpsReading))

    asyncio.run(story())
    # The result of the test before is not this one's; who is on battery later is so for another reason.
    assert [kept_reading.self_test for kept_reading, _value in kept] == ["running", "running", None]


def said_of_tests(*readings: wire.UpsReading) -> list[str | None]:
    return [item.self_test for item in tell(*readings)]


def test_a_test_that_runs_while_the_mains_is_gone_hides_no_cut() -> None:
    tested = [reading(s, "battery", self_test="running", input_voltage_v=v) for s, v in ((0, 228.0), (2, 0.0))]
    assert said_of_tests(*tested) == ["running", None]


def test_a_card_whose_test_never_ends_hides_a_cut_for_half_an_hour_at_most() -> None:
    looks = [reading(s, "battery", self_test="running", battery_charge_pct=90 - s / 100) for s in (0, 900, 1800, 1801)]
    assert said_of_tests(*looks) == ["running", "running", "running", None]
    on_mains = reading(7200, "online", self_test="running")
    assert said_of_tests(*looks, on_mains)[-1] == "running"


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"ups": 1}'])
def test_a_damaged_book_of_self_tests_is_a_new_book(tmp_path: Path, content: bytes) -> None:
    (tmp_path / power.BOOK_FILE).write_bytes(content)
    assert SelfTestBook(tmp_path).of("ups") is None


def test_without_a_disk_the_book_of_self_tests_lives_in_memory(tmp_path: Path) -> None:
    book = SelfTestBook(tmp_path / "nowhere")
    book.record("ups", SelfTest(7))
    assert book.of("ups") == SelfTest(7)
