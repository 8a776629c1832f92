"""The whole agent at a real broker: settings of the collector are taken, proven, or taken back by the agent itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from agent.config import AgentSettings, AgentTable, LinkSection, SeatsSection, SpeedSection
from agent.identity import Identity
from agent.remote.settings import digest_of
from agent.remote.watch import TrialTimes
from agent.service import Service
from tests.agent.conftest import receipt_for
from tests.helpers.waiting import until

QUICK: dict[str, dict[str, Any]] = {"spool": {"max_mb": 32}}
BAD: dict[str, dict[str, Any]] = {"spool": {"max_mb": 16}}


@pytest.fixture
def base(tmp_path: Path, free_port: int) -> AgentSettings:
    return AgentSettings(
        agent=AgentTable(state_dir=str(tmp_path / "state"), cycle_s=0.3, status_listen=f"127.0.0.1:{free_port}"),
        link=LinkSection(target="127.0.0.1", probes=3, interval_ms=20, isp_hops=0, timeout_s=0.5, lookup=""),
        speed=SpeedSection(enabled=False),
        seats=SeatsSection(enabled=False),
    )


@asynccontextmanager
async def running(base: AgentSettings, mine: Identity, times: TrialTimes) -> AsyncIterator[list[Service]]:
    """The agent, started again whenever it wants; the newest run is the last."""
    runs: list[Service] = []
    stop = asyncio.Event()

    async def work() -> None:
        while not stop.is_set():
            runs.append(Service(base, mine, times=times))
            await runs[-1].run(stop)

    task = asyncio.create_task(work())
    try:
        yield runs
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


class Desk:
    """Sends documents as the collector does, and reads what batches report."""

    def __init__(self, collector: Any, mine: Identity) -> None:
        self.collector, self.mine = collector, mine

    def send(self, values: dict[str, dict[str, Any]], issued_ms: int | None = None, **changes: Any) -> None:
        now_ms = time.time_ns() // 1_000_000
        document = wire.SettingsDocument(digest=digest_of(values), issued_ms=issued_ms or now_ms, values=values)
        facts = {"v": 1, "device": self.mine.device, "id": f"task-{time.monotonic_ns()}", "do": "settings"}
        task = wire.Task(**(facts | {"settings": document, "expires_ms": now_ms + 60_000} | changes))
        self.collector.tell(wire.task_topic(self.mine.device), wire.encode(task))

    @property
    def report(self) -> wire.SettingsReport | None:
        return self.collector.batches[-1].settings if self.collector.batches else None

    async def receipted(self) -> None:
        """Tasks are taken once a receipt has given the time."""
        await until(lambda: len(self.collector.batches) >= 2)


def unless_bad(batch: wire.Batch) -> wire.Receipt | None:
    """With the bad settings the collector cannot be reached: nothing of that run has a receipt."""
    is_bad = batch.settings is not None and batch.settings.digest == digest_of(BAD)
    return None if is_bad else receipt_for(batch)


async def play(base: AgentSettings, desk: Desk) -> None:
    """Good ones are applied and proven; those with which nothing is heard are taken back."""
    async with running(base, desk.mine, TrialTimes(proof_s=0.5, end_s=3.0)) as runs:
        await desk.receipted()
        assert desk.report == wire.SettingsReport(fetches=True)
        desk.collector.answer = unless_bad
        desk.send(QUICK)
        await until(lambda: desk.report == wire.SettingsReport(digest=digest_of(QUICK), state="trial", fetches=True))
        await until(lambda: desk.report == wire.SettingsReport(digest=digest_of(QUICK), fetches=True))
        assert (len(runs), runs[-1].settings.spool.max_mb) == (2, 32)
        desk.send(BAD)
        await until(lambda: len(runs) == 3)
        assert runs[-1].settings.spool.max_mb == 16
        await until(lambda: len(runs) == 4)
        await until(lambda: desk.report is not None and desk.report.failed == digest_of(BAD))
        assert desk.report is not None
        assert (desk.report.digest, desk.report.why.split(":")[0]) == (digest_of(QUICK), "no_receipt")
        assert runs[-1].settings.spool.max_mb == 32


def test_settings_are_applied_proven_and_taken_back_when_the_collector_is_not_reached(
    base: AgentSettings, enrolled: Identity, little_collector: Any
) -> None:
    asyncio.run(play(base, Desk(little_collector, enrolled)))
    numbers = sorted(number for _spool, number in little_collector.held)
    assert numbers == list(range(1, len(numbers) + 1)), "no reading is lost over four starts"


async def refuse(base: AgentSettings, desk: Desk) -> None:
    now_ms = time.time_ns() // 1_000_000
    async with running(base, desk.mine, TrialTimes(proof_s=0.5, end_s=60.0)) as runs:
        await desk.receipted()
        desk.send(QUICK)
        await until(lambda: desk.report == wire.SettingsReport(digest=digest_of(QUICK), fetches=True))
        ours, desk.collector.sign = desk.collector.sign, Ed25519PrivateKey.generate().sign
        desk.send(BAD)
        desk.collector.sign = ours
        desk.send(BAD, device="g" + "0" * 16)
        desk.send(BAD, expires_ms=now_ms - 1)
        desk.send(BAD, issued_ms=now_ms - 60_000)
        wrong = {"agent": {"state_dir": "/tmp"}}
        desk.send(wrong)
        await until(lambda: desk.report is not None and desk.report.failed == digest_of(wrong))
        assert (len(runs), desk.report.digest if desk.report else None) == (2, digest_of(QUICK))


def test_a_forged_stale_expired_or_foreign_document_is_refused_and_named(
    base: AgentSettings, enrolled: Identity, little_collector: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    asyncio.run(refuse(base, Desk(little_collector, enrolled)))
    for words in ("not sealed by the collector", "for another device", "has expired", "code=stale", "code=invalid"):
        assert words in caplog.text, words
