"""The nightly look and the end of a trial, with the releases' real folder."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.common.releases.trial import ReleaseFolder
from agent.updates.watch import Conditions, ReleaseWatch, due_ms, taken
from agent.wire import GatewayReading
from tests.helpers.waiting import until

DIGEST = hashlib.sha256(b"new").hexdigest()
WINDOW = "01:00-05:00"
DUE_MS = due_ms(1_795_000_000_000, WINDOW, "d")[0]
GOOD = Conditions(on_battery=False, since_receipt_s=1.0, skew_ms=0)


def on_trial(folder: Path) -> ReleaseFolder:
    ReleaseFolder(folder).accept("0.4.0", b"new")
    releases = ReleaseFolder(folder)
    releases.start("0.2.0", "b" * 32, 0.0)
    return releases


def watch(releases: ReleaseFolder, conditions: Callable[[], Conditions] = lambda: GOOD, **changes: Any) -> ReleaseWatch:
    async def nothing() -> bytes:
        return b"{}"

    facts: dict[str, Any] = {
        "window": WINDOW, "device": "d", "now_ms": lambda: DUE_MS, "conditions": conditions, "take": nothing,
        "proof_s": 0.2, "end_s": 1.0, "check_s": 0.01, "running": DIGEST,
    }  # fmt: skip
    return ReleaseWatch(releases, **(facts | changes))


def test_a_receipt_of_what_the_release_measured_proves_it(tmp_path: Path) -> None:
    made = watch(on_trial(tmp_path), lambda: Conditions(on_battery=False, since_receipt_s=0.0, skew_ms=0))
    assert made.enrich(GatewayReading()).release == "trial"
    asyncio.run(made.watch_trial())
    state = ReleaseFolder(tmp_path).state
    assert (state.trial, state.proven is not None, made.ended.is_set()) == (None, True, False)
    assert made.enrich(GatewayReading()).release == "proven"


def test_without_a_receipt_in_its_time_the_program_from_before_is_started(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    made = watch(
        on_trial(tmp_path),
        lambda: Conditions(on_battery=False, since_receipt_s=100 + time.monotonic() - begun_s, skew_ms=0),
    )
    asyncio.run(made.watch_trial())
    assert made.ended.is_set()
    assert made.enrich(GatewayReading()).failed_release == "0.4.0"
    assert made.enrich(GatewayReading()).failed_why == "no_receipt"
    assert ReleaseFolder(tmp_path).state.trial is None


def test_a_receipt_from_before_the_start_proves_nothing(tmp_path: Path) -> None:
    """The age of the last receipt grows with the time of the trial: it is older than the trial."""
    begun_s = time.monotonic()
    made = watch(
        on_trial(tmp_path),
        lambda: Conditions(on_battery=False, since_receipt_s=0.1 + time.monotonic() - begun_s, skew_ms=0),
        end_s=0.6,
    )
    asyncio.run(made.watch_trial())
    assert made.ended.is_set()


async def looked(made: ReleaseWatch, done: Callable[[], bool]) -> None:
    task = asyncio.create_task(made.look_nightly())
    await until(done)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_it_looks_once_a_night_and_ends_the_run_when_something_was_taken(tmp_path: Path) -> None:
    answers = [b'{"code": "held", "version": "0.4.0"}', b'{"code": "taken", "version": "0.4.0"}']
    later_ms = due_ms(DUE_MS + 2 * 86_400_000, WINDOW, "d")[0]
    nights = iter([DUE_MS, DUE_MS + 1000, *[later_ms] * 1000])
    calls: list[bytes] = []

    async def take() -> bytes:
        calls.append(answers[len(calls)])
        return calls[-1]

    made = watch(ReleaseFolder(tmp_path), take=take, now_ms=lambda: next(nights), running="")
    asyncio.run(looked(made, made.ended.is_set))
    assert calls == answers


def test_an_end_that_comes_as_a_look_fails_is_an_end(tmp_path: Path) -> None:
    """asyncio.wait_for of 3.11 gives what its work ended with, and forgets that it was cancelled meanwhile."""

    async def ended() -> bool:
        async def take() -> bytes:
            task.cancel()
            raise OSError("no such program")

        task = asyncio.create_task(watch(ReleaseFolder(tmp_path / "none"), take=take, running="").look_nightly())
        done, _ = await asyncio.wait({task}, timeout=5)
        return task in done and task.cancelled()

    assert asyncio.run(ended())


def test_on_battery_it_waits_and_a_release_on_trial_is_not_replaced(tmp_path: Path) -> None:
    supply = iter([True] * 20 + [False] * 1000)
    calls: list[int] = []

    async def take() -> bytes:
        calls.append(1)
        raise OSError("no such program")

    battery = lambda: Conditions(on_battery=next(supply), since_receipt_s=0, skew_ms=0)  # noqa: E731
    made = watch(ReleaseFolder(tmp_path / "none"), battery, take=take, running="")
    asyncio.run(looked(made, lambda: bool(calls)))
    assert next(supply) is False
    assert not made.ended.is_set()
    trial = watch(on_trial(tmp_path), take=take)

    async def some_checks() -> None:
        task = asyncio.create_task(trial.look_nightly())
        await asyncio.sleep(0.2)
        task.cancel()

    before = len(calls)
    asyncio.run(some_checks())
    assert len(calls) == before


def test_what_a_command_prints_is_read_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert asyncio.run(taken(["/bin/echo", "x"])) == b"x\n"
