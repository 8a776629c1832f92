"""Builds the agent's parts and runs them until stopped; the only module that knows all."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

import msgspec

from agent import __version__, identity, memory, wire
from agent.beacons.sender import BeaconSender
from agent.common import logs
from agent.common.releases.signers import SEEN
from agent.common.releases.trial import FOLDER, ReleaseFolder
from agent.config import AgentSettings
from agent.diagnostics.questions import AnswerQueue, AnswerSources
from agent.diagnostics.recent import RecentLines
from agent.local import board, lan, status
from agent.local.ceilings import Ceiling, ceilings
from agent.probes import PROBES, boot
from agent.probes.gateway import ClockState, clock_state
from agent.probes.probe import Context
from agent.probes.seats.registry import Registry
from agent.remote.trial import RemoteSettings
from agent.remote.watch import SettingsWatch, TrialTimes
from agent.runtime import Listening, first_of, in_background, notify, serve_with_retry, write_mark
from agent.scheduling import speed_plan
from agent.scheduling.rounds import RoundContext, Rounds
from agent.scheduling.speed_rounds import SpeedLedger
from agent.spool.queue import Spool
from agent.spool.record import Value
from agent.spool.status import Appended, SpoolStats
from agent.stamps import stamper
from agent.updates.watch import Conditions, ReleaseWatch, taken
from agent.uplink import collector_client
from agent.uplink.enrol import SPOOL_FILE
from agent.uplink.renew import Renewal
from agent.uplink.session import Uplink
from agent.uplink.trust import TrustedClock

if TYPE_CHECKING:
    from agent.local.nut_server import UpsState

THREADS = 4  # the spool, the broker's address, a speed test, one more; each costs memory
ENDPOINT_FILE = "way.json"
PROOF_FILE = "proof.json"
SPOOL_CHECK_S, ANSWER_MS = 5.0, 600_000
STUCK_ROUNDS = 5  # without a round for so many cycles the watchdog is let bite


class Service:
    """One run of the agent, with one set of settings. ``base`` is the machine's own file."""

    def __init__(
        self,
        base: AgentSettings,
        mine: identity.Identity,
        kernel: Callable[[], ClockState] = clock_state,
        times: TrialTimes | None = None,
        take: Sequence[str] = (),
    ) -> None:
        remote = self._remote = RemoteSettings(base.state_dir)
        settings, self._mine = remote.start(base), mine
        self._settings = settings
        self._stamp = stamper(kernel)
        self._board = board.Board()
        self._started_ms = self._stamp().wall_ms
        self._stats = SpoolStats(0, 0, volatile=False, shed=0, unreadable=0, trouble="")
        self._registry = Registry(settings.state_dir, time.monotonic_ns() // 1_000_000, settings.seats.approve)
        self._ledger = SpeedLedger(settings.state_dir)
        most_bytes = settings.spool.max_mb * 1024 * 1024
        self._spool = Spool(settings.state_dir / SPOOL_FILE, stamp=self._stamp, max_bytes=most_bytes)
        self._receipt_clock = TrustedClock()
        self._rounds = Rounds(self._parts(), self._ledger)
        clock = TrustedClock()
        self._renewal = Renewal(
            settings.state_dir, mine, clock, since_receipt_s=lambda: self._uplink.since_receipt_s(), move=self._move
        )
        self._uplink = self._make_uplink(clock)
        self._recent = RecentLines()
        self._restart = asyncio.Event()
        self._answers = AnswerQueue(self._sources(time.monotonic()), self._send_answer)
        self._changes = SettingsWatch(
            remote,
            base,
            now_ms=self._receipt_clock.now_ms,
            since_receipt_s=self._uplink.since_receipt_s,
            times=times or TrialTimes(),
        )
        self._replacement = self._release_watch(ReleaseFolder(base.state_dir / FOLDER), take)

    def _make_uplink(self, clock: TrustedClock) -> Uplink:
        state_dir = self._settings.state_dir
        return Uplink(
            self._mine,
            self._spool,
            stamp=self._stamp,
            on_task=self._handle_task,
            endpoint_file=state_dir / ENDPOINT_FILE,
            proof_file=state_dir / PROOF_FILE,
            clock=clock,
            receipt_clock=self._receipt_clock,
            learn_time=self._renewal.learn_time if self._mine.tls else None,
            refusal=lambda: self._renewal.refusal,
            settings=lambda: msgspec.structs.replace(self._remote.report(), fetches=True),
        )

    def _sources(self, begun_s: float) -> AnswerSources:
        return AnswerSources(
            settings=self._settings,
            probe=self._rounds.probe,
            spool=self._spool_facts,
            log=self._recent.lines,
            host=self._mine.broker_host,
            up_s=lambda: time.monotonic() - begun_s,
            restart=self._restart.set,
        )

    def _release_watch(self, folder: ReleaseFolder, take: Sequence[str]) -> ReleaseWatch:
        return ReleaseWatch(
            folder,
            window=self._settings.update.window if self._settings.update.url and take else "",
            device=self._mine.device,
            now_ms=self._receipt_clock.now_ms,
            conditions=self._update_conditions,
            take=lambda: taken([*take]),
            proof_s=self._changes.times.proof_s,
            end_s=self._changes.times.end_s,
        )

    @property
    def is_replaced(self) -> bool:
        """The process is to start again: with another program, or because the desk wants it."""
        return self._replacement.ended.is_set() or self._restart.is_set()

    @property
    def settings(self) -> AgentSettings:
        """Those in force."""
        return self._settings

    def _move(self, brokers: Sequence[identity.BrokerEndpoint]) -> None:
        self._uplink.move(brokers)
        self._rounds.set_collector_host(brokers[0].host)

    def _parts(self) -> RoundContext:
        context = Context(
            settings=self._settings,
            deadline_s=60.0,
            collector_host=self._mine.broker_host,
            measure_url=self._mine.measure_url or None,
            collector_tls_port=self._mine.tls_port,
            purpose="routine",
            registry=self._registry,
        )
        return RoundContext(
            settings=self._settings,
            device=self._mine.device,
            context=context,
            probes=PROBES,
            stamp=self._stamp,
            now_ms=self._receipt_clock.now_ms,
            keep=self._keep,
            enrich=self._enrich,
            send_ask=lambda ask: self._uplink.send_ask(ask),
            fetch=self._fetch,
        )

    def _fetch(self, order: wire.FetchOrder) -> int:
        return collector_client.fetch(self._renewal.client(), order)

    async def run(self, stop: asyncio.Event) -> bool:
        """Until ``stop`` is set; or until the agent is to start again with other settings, then True. A broken part
        ends the run: systemd restarts it, and the boot reading reports it."""
        await self._record_boot()
        async with AsyncExitStack() as stack:
            stack.callback(self._spool.close)
            stack.callback(self._registry.save)  # the good-byes of an evening, when the gateway goes off with its seats
            stack.enter_context(logs.also_to(self._recent))
            await stack.enter_async_context(in_background(self._answers.run()))
            for part in (*self._listeners(), *self._watchers()):
                await stack.enter_async_context(in_background(part))
            notify("READY=1")
            ends = (stop, self._changes.ended, self._replacement.ended, self._restart)
            await first_of(ends, self._rounds.run(), self._uplink.run())
            if stop.is_set():
                notify("STOPPING=1")
        await asyncio.to_thread(self._mark_stop)
        return not stop.is_set()

    def _watchers(self) -> list[Awaitable[None]]:
        trials = [self._changes.watch_trial(), self._replacement.watch_trial(), self._replacement.look_nightly()]
        beacons = BeaconSender(self._settings.second_path, self._mine, self._receipt_clock, self._uplink).run()
        upkeep = [self._watchdog(), self._check_spool(), self._renewal.run(), self._changes.take_documents()]
        return [*upkeep, *trials, beacons, memory.keep_small()]

    def _listeners(self) -> list[Awaitable[None]]:
        settings = self._settings
        page = serve_with_retry("status page", lambda: status.serve(settings.agent.status_listen, self._view))
        listeners: list[Awaitable[None]] = [page]
        if settings.seats.enabled:
            listeners.append(serve_with_retry("seat listener", self._listen_to_seats))
        if settings.power.nut_listen:
            listeners.append(serve_with_retry("NUT server", self._serve_nut))
        if settings.power.trap_listen:
            listeners.append(serve_with_retry("trap listener", self._listen_for_traps))
        return listeners

    async def _listen_to_seats(self) -> Listening:
        key, seats = identity.seat_key(self._settings.state_dir), self._settings.seats
        handed_on, seen = self._replacement.handed_on, self._settings.state_dir / SEEN
        return await lan.listen(self._registry, seats.listen, key, handed_on, seen=seen, conditions=seats.conditions)

    async def _serve_nut(self) -> Listening:
        from agent.local import nut_server  # costs memory only where it is wanted

        return await nut_server.serve(self._settings.power.nut_listen, self._ups_states)

    def _ups_states(self) -> list[UpsState]:
        from agent.local.nut_server import UpsState

        polls_s = {ups.name: ups.poll_s for ups in self._settings.ups}
        return [
            UpsState(name=name, reading=reading, age_s=age_s, poll_s=polls_s[name], ends=ends)
            for name, reading, age_s, ends in self._rounds.power.shown()
        ]

    async def _listen_for_traps(self) -> Listening:
        from agent.probes.ups import traps  # costs memory only where it is wanted

        settings, received = self._settings, self._rounds.power.trap_received
        return await traps.listen(settings.power.trap_listen, settings.ups, received)

    # ------------------------------------------------------------ the collector's tasks and settings

    def _handle_task(self, task: wire.Task) -> None:
        if task.settings is not None:
            self._changes.offer(task.settings)
        elif task.question is not None:
            self._answers.ask(task.question)
        elif task.do in ("speed", "probe", "fetch"):
            self._rounds.handle_task(task)

    def _send_answer(self, question: str, answer: str) -> None:
        ask = wire.Ask(
            v=wire.VERSION, device=self._mine.device, id=question, want="answer", purpose="desk", answer=answer,
            expires_ms=self._receipt_clock.now_ms() + ANSWER_MS,
        )  # fmt: skip
        self._uplink.send_ask(ask)

    def _spool_facts(self) -> dict[str, object]:
        """What waits to be sent, for the desk."""
        uplink = self._uplink.view
        facts = {"waiting": self._spool.waiting(), "last_receipt_ms": uplink.last_receipt_ms, "counts": uplink.counts}
        return {**asdict(self._stats), **facts}

    # ------------------------------------------------------------ readings

    async def _keep(self, readings: Sequence[wire.Reading], value: Value) -> None:
        for reading in readings:
            self._board.note(reading)
        raws = [wire.encode_reading(reading) for reading in readings]
        kept, self._stats = await asyncio.to_thread(self._append, raws, value)
        gasps = any(isinstance(reading, wire.UpsReading) and reading.last_gasp for reading in readings)
        self._uplink.readings_waiting(urgent=(kept.spool, kept.last_seq) if gasps else None)

    def _append(self, raws: list[bytes], value: Value) -> tuple[Appended, SpoolStats]:
        kept = self._spool.append(raws, value, self._stamp().wall_ms)
        return kept, self._spool.stats()

    def _enrich(self, reading: wire.Reading) -> wire.Reading:
        if not isinstance(reading, wire.GatewayReading) or reading.failure is not None:
            return reading
        stats = self._stats
        filled = msgspec.structs.replace(
            reading, spool_readings=stats.readings, spool_bytes=stats.bytes, spool_volatile=stats.volatile
        )
        return self._replacement.enrich(filled)

    def _update_conditions(self) -> Conditions:
        skew_ms = self._receipt_clock.now_ms() - time.time_ns() // 1_000_000
        return Conditions(
            on_battery=self._rounds.power.supply != "mains",
            since_receipt_s=self._uplink.since_receipt_s(),
            skew_ms=skew_ms,
        )

    # ------------------------------------------------------------ start and stop

    async def _record_boot(self) -> None:
        alive_ms = self._spool.head().wall_ms or None
        facts = boot.gather(self._settings.state_dir, alive_ms, self._started_ms)
        reading = msgspec.structs.replace(boot.judge_boot(facts), at=self._stamp())
        await self._keep([reading], "high")
        await asyncio.to_thread(write_mark, lambda: boot.mark_started(self._settings.state_dir, self._started_ms))

    def _mark_stop(self) -> None:
        now_ms, down = self._stamp().wall_ms, boot.is_shutting_down()
        write_mark(lambda: boot.mark_clean_stop(self._settings.state_dir, now_ms, shutdown=down))

    def mark_crash(self) -> None:
        write_mark(lambda: boot.mark_crashed(self._settings.state_dir, self._stamp().wall_ms))

    async def _check_spool(self) -> None:
        while True:
            await asyncio.sleep(SPOOL_CHECK_S)
            await asyncio.to_thread(self._spool.check_file)

    async def _watchdog(self) -> None:
        every_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
        while every_s:
            stuck_s = time.monotonic() - self._rounds.last_round_s
            if stuck_s < STUCK_ROUNDS * self._settings.agent.cycle_s:
                notify("WATCHDOG=1")
            await asyncio.sleep(every_s)

    def _ceilings(self) -> list[Ceiling]:
        settings = self._settings
        return ceilings(
            spool_bytes=self._stats.bytes,
            spool_max_bytes=settings.spool.max_mb * 1024 * 1024,
            speed_used_mb=self._ledger.book.at(self._receipt_clock.now_ms()).bytes / 1e6,
            speed_budget_mb=float(settings.speed.monthly_budget_mb),
        )

    def _view(self) -> board.StatusView:
        uplink, stats, book = self._uplink.view, self._stats, self._ledger.book
        now, told_ms = self._stamp(), self._receipt_clock.now_ms()
        speed = self._settings.speed
        plan = speed_plan.thrift(book.at(told_ms), speed, speed_plan.slots_left(told_ms, speed.slots))
        return board.StatusView(
            now_ms=now.wall_ms,
            started_ms=self._started_ms,
            version=__version__,
            center=self._mine.center,
            center_name=self._mine.name,
            device=self._mine.device,
            uplink=uplink.state,
            uplink_cause=uplink.cause or ("disk" if stats.trouble else None),
            collector_refusal=self._renewal.refusal,
            uplink_detail=uplink.detail or stats.trouble,
            last_receipt_ms=uplink.last_receipt_ms,
            standing=uplink.standing,
            messages_refused=uplink.counts["refused"],
            batches_disputed=uplink.counts["disputed"],
            spool_readings=self._spool.waiting(),
            spool_bytes=stats.bytes,
            spool_max_bytes=self._settings.spool.max_mb * 1024 * 1024,
            speed_used_mb=book.at(told_ms).bytes / 1e6,
            speed_budget_mb=float(speed.monthly_budget_mb),
            speed_mode=plan.mode if speed.enabled else "",
            speed_share=plan.share,
            clock=now.clock,
            ceilings=self._ceilings(),
            settings=self._remote.report(),
            last=self._board.last,
            failures=self._board.failures,
            series=self._board.series,
        )


def run(
    base: AgentSettings,
    mine: identity.Identity,
    kernel: Callable[[], ClockState] = clock_state,
    *,
    times: TrialTimes | None = None,
    on_start: Callable[[AgentSettings], None] = lambda _settings: None,
    take: Sequence[str] = (),
) -> bool:
    """Runs the agent until SIGTERM or SIGINT, and again with other settings where the collector sets some. ``base`` is
    the machine's own file, ``on_start`` gets the settings of each run, ``take`` is the command that looks for a newer
    program. True when such a one, or the one from before, is to be started."""
    while True:
        service = Service(base, mine, kernel, times, take)
        on_start(service.settings)
        try:
            if not asyncio.run(_until_signal(service)):
                return False
        except BaseException:
            service.mark_crash()
            raise
        if service.is_replaced:
            return True
        mine = identity.load(base.state_dir)  # its brokers may have moved


async def _until_signal(service: Service) -> bool:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, "nabz"))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await service.run(stop)
