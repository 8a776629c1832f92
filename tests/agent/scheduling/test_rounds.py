"""Rounds with probes that answer, fail, hang, break, and a UPS whose mains goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent import config, wire
from agent.probes.probe import Context, ProbeFailed
from agent.scheduling import rounds
from agent.scheduling.rounds import RoundContext, Rounds
from agent.scheduling.speed_rounds import SpeedLedger
from agent.spool.record import Value

T0 = 1_790_000_000_000
Kept = list[tuple[list[wire.Reading], Value]]


def stamp() -> wire.Stamp:
    return wire.Stamp(wall_ms=T0, mono_ms=5, boot="1a2b3c4d", clock="synced")


async def link(context: Context) -> Sequence[wire.Reading]:
    return [wire.LinkReading(subject="wan", loss_pct=0.0)]


async def gateway(context: Context) -> Sequence[wire.Reading]:
    return [wire.GatewayReading(cpu_pct=1.0)]


async def seats(context: Context) -> Sequence[wire.Reading]:
    return [wire.SeatsReading(known=0)]


async def no_ups(context: Context) -> Sequence[wire.Reading]:
    raise ProbeFailed("timeout", "no answer")


async def hangs(context: Context) -> Sequence[wire.Reading]:
    await asyncio.sleep(3600)
    return []


async def breaks(context: Context) -> Sequence[wire.Reading]:
    raise ZeroDivisionError("by design")


async def lies(context: Context) -> Sequence[wire.Reading]:
    return [wire.LinkReading(rtt_min_ms=1e300)]


def made(
    tmp_path: Path, kept: Kept, settings: config.AgentSettings | None = None, measure_url: str = "", **probes: object
) -> Rounds:
    settings = settings or config.AgentSettings()

    async def keep(readings: Sequence[wire.Reading], value: Value) -> None:
        kept.append((list(readings), value))

    parts = RoundContext(
        settings=settings,
        device="g1",
        context=Context(settings=settings, deadline_s=1.0, measure_url=measure_url, purpose="routine"),
        probes={"link": link, "gateway": gateway, "seats": seats, "ups": no_ups} | probes,  # type: ignore[arg-type]
        stamp=stamp,
        now_ms=lambda: T0,
        keep=keep,
        enrich=lambda reading: reading,
        send_ask=lambda ask: None,
    )
    return Rounds(parts, SpeedLedger(tmp_path))


def with_ups(*names: str) -> config.AgentSettings:
    return config.AgentSettings(ups=[config.UpsSection(name=name, host="192.0.2.1") for name in names])


def kinds(readings: Sequence[wire.Reading]) -> list[str]:
    return [str(reading.__struct_config__.tag) for reading in readings]


def test_a_round_is_one_commit_of_stamped_readings(tmp_path: Path) -> None:
    kept: Kept = []
    asyncio.run(made(tmp_path, kept).round())
    ((readings, value),) = kept
    assert kinds(readings) == ["link", "seats", "gateway"]
    assert all(reading.at == stamp() for reading in readings)
    assert value == "low"


def test_a_probe_that_breaks_is_a_reading_with_its_cause_and_the_others_go_on(tmp_path: Path) -> None:
    kept: Kept = []
    asyncio.run(made(tmp_path, kept, link=breaks).round())
    ((readings, value),) = kept
    assert kinds(readings) == ["link", "seats", "gateway"]
    assert readings[0].failure == wire.Failure("broken", "zero division error: by design")
    assert value == "normal"


def test_a_probe_that_hangs_is_cut_at_its_deadline() -> None:
    context = Context(settings=config.AgentSettings(), deadline_s=0.05)
    (reading,) = asyncio.run(rounds.measure("link", hangs, context, stamp))
    assert reading.failure is not None
    assert reading.failure.cause == "timeout"


def test_a_reading_the_collector_would_refuse_becomes_a_failure_here() -> None:
    context = Context(settings=config.AgentSettings(), deadline_s=1.0)
    (reading,) = asyncio.run(rounds.measure("link", lies, context, stamp))
    assert reading.failure is not None
    assert reading.failure.cause == "broken"
    assert reading.at == stamp()


def test_a_long_sentence_of_a_probe_is_cut_to_what_the_wire_takes() -> None:
    failure = rounds.failed("ups", "timeout", "y" * 500).failure
    assert failure is not None
    assert failure == wire.Failure("timeout", "y" * 200)


def test_a_roll_call_that_is_only_settling_says_nothing(tmp_path: Path) -> None:
    async def settling(context: Context) -> Sequence[wire.Reading]:
        raise ProbeFailed("settling", "just started")

    kept: Kept = []
    asyncio.run(made(tmp_path, kept, seats=settling).round())
    assert kinds(kept[0][0]) == ["link", "gateway"]


# ---------------------------------------------------------------- power


def test_quiet_looks_at_a_ups_come_along_with_the_round_once(tmp_path: Path) -> None:
    async def ups(context: Context) -> Sequence[wire.Reading]:
        return [wire.UpsReading(subject="ups", output_state="online")]

    async def story(kept: Kept) -> None:
        own = made(tmp_path, kept, with_ups("ups"), ups=ups)
        await own.power.poll("ups")
        await own.power.poll("ups")
        assert kept == []
        await own.round()
        assert kinds(kept[-1][0]) == ["link", "seats", "gateway", "ups"]
        await own.round()  # nothing new was read: not twice
        assert kinds(kept[-1][0]) == ["link", "seats", "gateway"]

    asyncio.run(story([]))


def test_each_ups_is_looked_at_alone_and_a_probe_that_fails_does_so_under_its_name(tmp_path: Path) -> None:
    async def ups(context: Context) -> Sequence[wire.Reading]:
        (one,) = context.settings.ups
        if one.name == "a":
            return [wire.UpsReading(subject="a", output_state="online")]
        raise ProbeFailed("unreachable", "no route")

    async def story(kept: Kept) -> None:
        own = made(tmp_path, kept, with_ups("a", "b"), ups=ups)
        await own.power.poll("a")
        await own.power.poll("b")
        await own.round()
        a, b = kept[-1][0][-2:]
        assert (a.subject, a.failure) == ("a", None)
        assert (b.subject, b.failure) == ("b", wire.Failure("unreachable", "no route"))
        assert kept[-1][1] == "normal"

    asyncio.run(story([]))


# ---------------------------------------------------------------- tasks


def a_task(name: str, expires_ms: int) -> wire.Task:
    return wire.Task(v=1, device="g1", id=name, do="speed", token="t", server="http://m.example", expires_ms=expires_ms)


def test_a_flood_of_tasks_is_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        own = made(tmp_path, [])
        for number in range(50):
            own.handle_task(a_task(str(number), T0 + 1))

    asyncio.run(story())
    assert sum("too many wait" in record.message for record in caplog.records) == 42


# ---------------------------------------------------------------- speed


def test_the_link_is_never_measured_while_a_speed_test_runs(tmp_path: Path) -> None:
    running = 0

    async def alone(context: Context) -> Sequence[wire.Reading]:
        nonlocal running
        assert running == 0
        running += 1
        await asyncio.sleep(0.05)
        running -= 1
        return [wire.LinkReading(loss_pct=0.0)]

    async def fast(context: Context) -> Sequence[wire.Reading]:
        return [wire.SpeedReading(failure=(await alone(context))[0].failure)]

    async def story(kept: Kept) -> None:
        own = made(tmp_path, kept, measure_url="http://measure.example", link=alone, speed=fast)
        tests = [own.speed.run_task(a_task(name, T0 + 1)) for name in ("one", "two")]
        await asyncio.gather(tests[0], own.round(), tests[1], own.round())
        assert all(reading.failure is None for readings, _value in kept for reading in readings)

    asyncio.run(story([]))


def test_the_collectors_task_runs_a_test_against_the_server_and_token_it_names(tmp_path: Path) -> None:
    contexts: list[Context] = []

    async def speed(context: Context) -> Sequence[wire.Reading]:
        contexts.append(context)
        return [wire.SpeedReading(download_mbps=20.0, bytes_total=10)]

    settings = config.AgentSettings(speed=config.SpeedSection(enabled=False), agent=config.AgentTable(cycle_s=3600))

    async def story() -> None:
        own = made(tmp_path, [], settings, speed=speed)
        task = asyncio.create_task(own.run())
        own.handle_task(a_task("late", 1))
        own.handle_task(a_task("now", T0 + 1))
        async with asyncio.timeout(60):
            while not contexts:  # noqa: ASYNC110  the task runs beside us
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(story())
    (context,) = contexts
    assert (context.test_token, context.settings.speed.server, context.purpose) == ("t", "http://m.example", "desk")
