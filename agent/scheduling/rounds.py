"""Runs the probes by the schedule, and hands on what they return: stamped, complete, valid on the wire.

A probe may fail, hang or break: that is a reading with its cause, and the others go on. Light probes make one round a
cycle and one commit; UPSs are watched apart (agent.scheduling.power), and their unchanged polls come with the
round. The link probe and a speed test (agent.scheduling.speed_rounds) never run at once: each would measure the other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from agent import wire
from agent.common.causes import Cause
from agent.common.errors import describe
from agent.common.logs import Event
from agent.config import AgentSettings, UpsSection
from agent.probes import start_self_test
from agent.probes.probe import Context, Probe, ProbeFailed, failure
from agent.probes.speed.line import idle_check, wan
from agent.scheduling import schedule
from agent.scheduling.power import PowerWatch, SelfTestBook, StartTest
from agent.scheduling.speed_rounds import SpeedContext, SpeedLedger, SpeedRounds
from agent.spool.record import Value

PROBE_BROKEN = Event(
    __name__, "error", "probe_broken", "a probe raised what it should have handled; its reading says so", key="probe",
    fields="error", has_trace=True,
)  # fmt: skip
READING_INVALID = Event(
    __name__, "error", "reading_invalid", "a reading breaks the wire contract; a failure is sent in its place",
    key="probe", fields="error",
)  # fmt: skip
TASK_DROPPED = Event(
    __name__, "warning", "task_dropped", "a task of the collector is dropped, as too many wait already", fields="task"
)
TASK_EXPIRED = Event(__name__, "warning", "task_expired", "a task expired before it could be done", fields="task")
TASK_UNKNOWN = Event(
    __name__, "warning", "task_unknown", "a task names a probe that this gateway does not have", fields="task probe"
)

NO_NEWS: frozenset[Cause] = frozenset({"settling"})  # causes that are not reported: the probe cannot know yet

Keep = Callable[[Sequence[wire.Reading], Value], Awaitable[None]]
Stamp = Callable[[], wire.Stamp]


@dataclass(frozen=True, kw_only=True)
class RoundContext:
    """What the rounds work with. ``now_ms`` is the collector's time as far as it is known, ``enrich`` completes
    readings with what only the service knows, ``send_ask`` sends a test request to the collector, ``fetch`` gets a file
    of the collector and returns its bytes (it blocks; raises OSError), ``chance`` draws the moment of a round."""

    settings: AgentSettings
    device: str
    context: Context
    probes: Mapping[str, Probe]
    stamp: Stamp
    now_ms: Callable[[], int]
    keep: Keep
    enrich: Callable[[wire.Reading], wire.Reading]
    send_ask: Callable[[wire.Ask], None]
    start_test: StartTest = start_self_test
    fetch: Callable[[wire.FetchOrder], int] = lambda _order: 0
    chance: Callable[[], float] = random.random


async def measure(kind: str, probe: Probe, context: Context, stamp: Stamp) -> list[wire.Reading]:
    """What the probe returned, stamped; its failure as a reading. Raises nothing but cancellation."""
    try:
        async with asyncio.timeout(context.deadline_s):
            readings = await probe(context)
    except ProbeFailed as error:
        readings = [failed(kind, error.cause, error.detail)]
    except TimeoutError:
        readings = [failed(kind, "timeout", f"the {kind} probe did not end within {context.deadline_s:g} s")]
    except Exception as error:  # a probe may break on anything it meets; the others must go on
        PROBE_BROKEN.log(probe=kind, error=error)
        readings = [failed(kind, "broken", describe(error))]
    return [checked(kind, msgspec.structs.replace(reading, at=reading.at or stamp())) for reading in readings]


def failed(kind: str, cause: Cause, detail: str) -> wire.Reading:
    return wire.KINDS[kind].struct(failure=failure(cause, detail))


def checked(kind: str, reading: wire.Reading) -> wire.Reading:
    """The reading, or a failure in its place when the other end would refuse it."""
    try:
        return wire.decode_reading(wire.encode_reading(reading))
    except wire.WireError as error:
        READING_INVALID.log(probe=kind, error=error)
        return msgspec.structs.replace(failed(kind, "broken", str(error)), at=reading.at)


class Rounds:
    """All measuring of one gateway. `run` ends only when cancelled."""

    def __init__(self, parts: RoundContext, ledger: SpeedLedger) -> None:
        self._parts = parts
        self._line_lock = asyncio.Lock()  # held by whatever needs the line for itself
        self.power = PowerWatch(
            parts.settings.ups,
            device=parts.device,
            poll=self._poll_ups,
            keep=parts.keep,
            start_test=parts.start_test,
            book=SelfTestBook(ledger.state_dir),
        )
        self.speed = SpeedRounds(self._speed_parts(), ledger)
        self._tasks: asyncio.Queue[wire.Task] = asyncio.Queue(maxsize=8)
        self.last_round_s = time.monotonic()

    def _speed_parts(self) -> SpeedContext:
        parts = self._parts
        return SpeedContext(
            settings=parts.settings,
            device=parts.device,
            context=parts.context,
            stamp=parts.stamp,
            now_ms=parts.now_ms,
            keep=parts.keep,
            measure=self._run_probe,
            line=self._line_lock,
            supply=lambda: self.power.supply,
            failover=lambda: wan.line_now(parts.settings.link).failover is True,
            load=lambda seconds: idle_check.line_load(parts.settings, seconds),
            moved=lambda: idle_check.moved_bytes(parts.settings),
            send_ask=parts.send_ask,
            fetch=parts.fetch,
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cycle())
            group.create_task(self._run_tasks())
            if self._parts.settings.ups:
                group.create_task(self.power.run())
            if self._parts.settings.speed.enabled:
                group.create_task(self.speed.run())

    def handle_task(self, task: wire.Task) -> None:
        """Accepts a task of the collector; with too many waiting it is dropped."""
        if task.do == "speed" and self.speed.accept(task):
            return
        try:
            self._tasks.put_nowait(task)
        except asyncio.QueueFull:
            TASK_DROPPED.log(task=task.id)

    def set_collector_host(self, host: str) -> None:
        """The collector has moved: the link is measured up to its new host from now on."""
        self._parts = replace(self._parts, context=replace(self._parts.context, collector_host=host))

    # ------------------------------------------------------------ the round

    async def _cycle(self) -> None:
        cycle_s = self._parts.settings.agent.cycle_s
        phase = schedule.phase_s(self._parts.device, cycle_s)
        while True:
            begun_s = time.monotonic()
            await self.round()
            self.last_round_s = time.monotonic()
            due_s = schedule.next_round_s(begun_s, cycle_s, phase, self._parts.chance())
            await asyncio.sleep(max(0.0, due_s - self.last_round_s))

    async def round(self) -> None:
        """One round of all light probes and one commit."""
        taken = await asyncio.gather(*map(self._measure, self._round_kinds()))
        readings = [reading for some in taken for reading in some]
        readings += self.power.news()
        if readings:
            await self._parts.keep(readings, schedule.value_of(readings))

    def _round_kinds(self) -> list[str]:
        """The kinds of every round whose settings do not have `enabled = false`."""
        tables = ((kind, getattr(self._parts.settings, kind.name, None)) for kind in wire.KINDS.values())
        return [
            kind.name
            for kind, table in tables
            if kind.measured in ("round", "line")
            and getattr(table, "enabled", True)
            and kind.name in self._parts.probes
        ]

    async def _measure(self, kind: str) -> list[wire.Reading]:
        if wire.KINDS[kind].measured == "line":
            async with self._line_lock:
                return await self._run_probe(kind, self._parts.context)
        return await self._run_probe(kind, self._parts.context)

    async def probe(self, kind: str) -> Sequence[wire.Reading]:
        """What is measured of this kind now; the readings are kept, too."""
        readings = await self._measure(kind)
        await self._parts.keep(readings, "normal")
        return readings

    async def _run_probe(self, kind: str, context: Context) -> list[wire.Reading]:
        deadline = replace(context, deadline_s=wire.KINDS[kind].deadline_s)
        readings = await measure(kind, self._parts.probes[kind], deadline, self._parts.stamp)
        news = [reading for reading in readings if reading.failure is None or reading.failure.cause not in NO_NEWS]
        return [self._parts.enrich(reading) for reading in news]

    async def _poll_ups(self, ups: UpsSection) -> list[wire.Reading]:
        """The probe sees this UPS alone: a slow one does not hold up another."""
        alone = msgspec.structs.replace(self._parts.context.settings, ups=[ups])
        return await self._run_probe("ups", replace(self._parts.context, settings=alone))

    # ------------------------------------------------------------ the collector's tasks

    async def _run_tasks(self) -> None:
        while True:
            task = await self._tasks.get()
            if task.expires_ms <= self._parts.now_ms():
                TASK_EXPIRED.log(task=task.id)
            elif task.do == "speed":
                await self.speed.run_task(task)
            elif task.fetch is not None:
                await self.speed.fetch_file(task.fetch)
            elif task.probe is not None and task.probe in self._parts.probes:
                await self._parts.keep([_answer(one, task) for one in await self._measure(task.probe)], "normal")
            else:
                TASK_UNKNOWN.log(task=task.id, probe=task.probe)


def _answer(reading: wire.Reading, task: wire.Task) -> wire.Reading:
    """A reading of the machine says which task asked for it."""
    return msgspec.structs.replace(reading, answers=task.id) if isinstance(reading, wire.GatewayReading) else reading
