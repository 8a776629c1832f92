"""The running collector: builds the parts from the settings, starts them in order, stops them in reverse.

The only module that knows all the others. Speed tests run in a process of their own, so that they never starve ingest.
"""

from __future__ import annotations

import base64
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from agent.common.files import FileWatch
from agent.common.logs import Event
from agent.common.threads import SignalEvent
from collector.access.signing_key import drawing_secret, load_or_make
from collector.acts import restored
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.mosquitto import MosquittoChild
from collector.common.config import Settings
from collector.ingest.workers import BEAT_INTERVAL_S, IngestWorkers, WorkerBeats
from collector.judging.clock import ClockWatch
from collector.judging.silence import listening_again
from collector.recovery import settle as recovery
from collector.recovery.unpacked import remove_left
from collector.remote.questions import QuestionSender
from collector.remote.sender import SettingsSender
from collector.run import resources, sdnotify, tasks
from collector.run.listeners.start import InProcess, Listeners, SplitProcesses
from collector.run.lock import DatabaseLock, folder_lock, lock_files
from collector.run.news_listener import NewsListener
from collector.run.reload import Reload
from collector.run.runtime import Component, PeriodicTask, Subprocess, Tended
from collector.run.settings import read_channels, read_standards
from collector.run.tasks import clock_ms
from collector.run.tls_maintenance import TlsMaintenance
from collector.run.upgrades import opened_and_upgraded
from collector.run.upkeep.backups import TICK_S as BACKUPS_TICK_S
from collector.run.upkeep.backups import Backups
from collector.run.upkeep.jobs import COLLECTOR, Jobs, holder_of
from collector.run.upkeep.tasks import lease_task, message_tasks, outbox_of, upkeep_tasks
from collector.speedtests import requests
from collector.speedtests.measure import membership
from collector.speedtests.measure.delivery import Outgoing
from collector.speedtests.policy import places
from collector.speedtests.scheduler import TestScheduler
from collector.store import UNAVAILABLE, Store, StoreError, sqlite3
from collector.store.backup import rescue
from collector.store.database import KEY_FILE, data_files, database_file, growing_files, journal_of, opened
from collector.web.health import Health, Needed, Watched

STARTED = Event(__name__, "info", "collector_started", "the collector runs; its pages are here", fields="url")
STOPPING = Event(__name__, "info", "collector_stopping", "the collector was asked to stop")
PART_ENDED = Event(
    __name__, "critical", "part_ended", "a part of the collector ended by itself; the collector stops", fields="part"
)
GONE = Event(
    __name__, "critical", "file_gone", "a file was moved or deleted under the collector: it gives no receipt any more "
    "and stops; put it back", fields="file",
)  # fmt: skip
RESCUED = Event(
    __name__, "critical", "database_rescued", "the database was deleted, and copied from the file that was still open: "
    "give the copy its name, then start the collector", fields="file rescued",
)  # fmt: skip
NOT_RESCUED = Event(
    __name__, "critical", "database_not_rescued", "the database was deleted and cannot be copied from the file that "
    "was still open", fields="error",
)  # fmt: skip
ALIVE = Event(
    __name__, "info", "collector_alive", "readings taken in the last minute, and since the start",
    fields="last_minute readings",
)  # fmt: skip

MEASURE = "measure"  # the folder of our own measurement server, under `data_dir`

POLL_INTERVAL_S = 1.0
LOG_INTERVAL_S = 60.0
FOLLOW_INTERVAL_S = 1.0
SCHEDULE_INTERVAL_S = 1.0  # between two decisions who may test
REGISTER_INTERVAL_S = 30.0
SETTINGS_INTERVAL_S = 10.0  # between two comparisons of what gateways run with and what holds for them
DRAW_INTERVAL_S = 60.0  # between two looks for drawn tests that are due
UNREPORTED_INTERVAL_S = 60.0  # between two looks for tests that no gateway reports
COLLECT_INTERVAL_S = 1.0  # between two collections of our own measurement server's results


def serve(
    settings: Settings,
    *,
    migrates: bool = False,
    is_new: bool = False,
    child_options: Sequence[str] = (),
    read: Callable[[], Settings] | None = None,
) -> int:
    """Runs until SIGTERM or SIGINT (0), or until a part ends by itself (1). `child_options` are those with which a
    child process finds the same settings; `read` reads them again at SIGHUP. `is_new`: a lost database, key or
    authority is meant to be made anew.

    Raises ConfigError, StoreError or broker.BrokerError when it cannot start.
    """
    stop, hangup = SignalEvent(), SignalEvent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: hangup.set())
    resources.claim()
    with ExitStack() as stack:
        running = Running(settings, stack, migrates=migrates, is_new=is_new, child_options=child_options)
        STARTED.log(url=settings.web_url)
        sdnotify.tell("READY=1")
        stack.callback(sdnotify.tell, "STOPPING=1")
        return running.watch(stop, hangup, running.reload(read or (lambda: settings)))


class Running:
    """The started parts; `stack` stops them."""

    def __init__(
        self,
        settings: Settings,
        stack: ExitStack,
        *,
        migrates: bool = False,
        is_new: bool = False,
        child_options: Sequence[str] = (),
    ) -> None:
        self._settings, self._stack = settings, stack
        self._standards = read_standards(settings)
        stack.enter_context(folder_lock(settings))
        remove_left(settings.data_dir)
        self._store = stack.enter_context(opened_and_upgraded(settings, migrates=migrates, keys=True, is_new=is_new))
        self._key = load_or_make(settings.data_dir)
        self._settle()
        self._public_key = self._key.public_key().public_bytes_raw()
        self.health = Health()
        one = settings.collector.processes == "one"
        self._listeners: Listeners = (InProcess if one else SplitProcesses)(
            settings, self._store, self._standards, self._key, self.health, stack, child_options
        )
        self._publish = self._listeners.publish
        own = stack.enter_context(opened(settings.as_ingest)) if settings.database.ingest_url else self._store
        tls_maintenance = self._make_ingest(own)
        self.certificates: list[Callable[[], object]] = []
        self.children: list[Tended] = []
        self.parts: list[Component] = []
        self._files = FileWatch([*data_files(settings), *lock_files(settings)], growing_files(settings))
        if self._store.parted:
            self._start(DatabaseLock(settings.direct_url))
        self._note_start(own)
        if settings.broker.url == "embedded":
            self._start_broker(tls_maintenance.broker())
        self._start_ingest(child_options)
        self._start_periodic_tasks(own, child_options)
        self._start_measurement()
        self._listeners.start(self._start, self._start_child, tls_maintenance)
        self.certificates += [self._listeners.reload, tls_maintenance.renew]
        for part in tls_maintenance.parts():
            self._start(part)

    def _make_ingest(self, own: Store) -> TlsMaintenance:
        """The first worker, not yet started; returns what knows the broker's certificates and addresses."""
        tls_maintenance = TlsMaintenance(self._settings, self._store, clock_ms)
        addresses = tls_maintenance.addresses()
        self.ingest = IngestWorkers(self._settings, own, self._key, self._standards, addresses, self._publish, clock_ms)
        tls_maintenance.floods = self.ingest.floods
        self.ingest.on_flood(tls_maintenance.flood_watch.wake)
        self.health.watched.append(Watched("ingest", self._settings.web.healthy_within_s, self.ingest.age_s))
        self.health.needed.append(Needed("broker", self.ingest.is_connected))
        return tls_maintenance

    def _note_start(self, own: Store) -> None:
        """In the database: that we listen again, by which clock, and whether a measurement server of ours runs."""
        with own.write() as conn:
            ClockWatch(lambda: 0).follow(conn, clock_ms())
            listening_again(conn, self._standards, clock_ms())
        with self._store.write() as conn:
            runs, at_once = self._settings.measure.enabled, tests_at_once(self._settings)
            url = self._settings.measure_url
            requests.record_own_server(conn, url, self._public_key, at_once, clock_ms(), runs=runs)

    def _settle(self) -> None:
        """What was decided after a copy that was restored holds again. Raises StoreError, ConfigError."""
        keeper = self._settings.as_keeper
        with opened(keeper) as store:
            if recovery.settle(store, keeper, clock_ms(), partial(restored.follow, now_ms=clock_ms())):
                self._standards = read_standards(self._settings)
        self._store.journal = journal_of(self._settings)
        self._store.learn_epoch()

    def _start_ingest(self, child_options: Sequence[str]) -> None:
        """Ingest: in this process, and in workers beside it."""
        self._start(self.ingest)
        numbers = range(2, self._settings.ingest.workers + 1)
        for number in numbers:
            self._start_child(
                Subprocess(f"ingest worker {number}", ["ingest", "--worker", str(number), *child_options])
            )
        if self._settings.ingest.shares:
            self._watch_workers(numbers)
            self._start(PeriodicTask("follow", FOLLOW_INTERVAL_S, tasks.follow_task(self._store, self._publish)))

    def _watch_workers(self, numbers: Sequence[int]) -> None:
        """Workers beside this process and on other machines are watched, too."""
        beats = WorkerBeats(self._store, numbers)
        within_s = self._settings.web.healthy_within_s + 2 * BEAT_INTERVAL_S

        def look() -> None:
            self.health.workers = [Watched(name, within_s, partial(beats.age_s, name)) for name in beats.look()]

        self._start(PeriodicTask("workers", BEAT_INTERVAL_S, look))

    def _start_periodic_tasks(self, own: Store, child_options: Sequence[str]) -> None:
        """Periodic work on the database: silence, old months, alerts."""
        settings = self._settings
        tick = tasks.sweep_task(own, self._standards, self._publish, settings.sweep.gap_s)
        self._start_watched(PeriodicTask("sweep", settings.sweep.every_s, tick))
        keeper = self._stack.enter_context(opened(settings.as_keeper))
        self._start(PeriodicTask("register", REGISTER_INTERVAL_S, tasks.register_task(self._store)))
        if settings.backup.folder is not None:
            backups = Backups(self._store, settings, child_options, clock_ms)
            self._start(PeriodicTask("backups", BACKUPS_TICK_S, backups.tick))
        jobs = Jobs(self._store, holder_of(COLLECTOR))
        self.outbox = outbox_of(settings, self._store, self._standards, clock_ms)
        upkeep = upkeep_tasks(jobs, settings, self._store, keeper, self._key, self._standards, child_options, clock_ms)
        alerts, *others = message_tasks(jobs, settings, self.outbox)
        self._stack.callback(jobs.stop)
        if settings.collector.jobs:
            jobs.seize()
            jobs.tick()
            self._start(lease_task(jobs))
        for task in (*upkeep, *others):
            self._start(task)
        self._stack.callback(self.outbox.stop)
        self._store.on_news = own.on_news = self._listeners.on_news = alerts.wake
        self._start_watched(alerts)
        if self._store.parted:
            self._start(NewsListener(settings.direct_url, alerts.wake))

    def _start_measurement(self) -> None:
        """The scheduler of tests at measurement servers, and our own server."""
        scheduler = TestScheduler(self._store, self._key, self.ingest.publish, self._publish, clock_ms)
        self._start(PeriodicTask("scheduler", SCHEDULE_INTERVAL_S, scheduler.look))
        secret = drawing_secret(self._key)
        self._start(
            PeriodicTask(
                "drawn tests", DRAW_INTERVAL_S, lambda: scheduler.draw(secret, self._settings.measure.drawn_slots)
            )
        )
        self._start(PeriodicTask("witnessed tests", DRAW_INTERVAL_S, tasks.witnessed_task(self._store, secret)))
        ask = partial(scheduler.challenge, secret)
        self._start(PeriodicTask("challenges", DRAW_INTERVAL_S, ask))
        order = partial(scheduler.fetch, secret, self._settings.measure.fetch_mb)
        self._start(PeriodicTask("fetches", DRAW_INTERVAL_S, order))
        unreported = tasks.unreported_task(self._store, self._standards, self._publish)
        self._start(PeriodicTask("unreported tests", UNREPORTED_INTERVAL_S, unreported))
        sender = SettingsSender(self._store, self._key, self.ingest.publish, clock_ms)
        self._start(PeriodicTask("settings", SETTINGS_INTERVAL_S, sender.look))
        questions = QuestionSender(self._store, self._key, self.ingest.publish, clock_ms)
        self._start(PeriodicTask("questions", SCHEDULE_INTERVAL_S, questions.look))
        if self._settings.measure.enabled:
            outgoing = _measure_state(self._settings, self._public_key)
            tick = tasks.collect_task(self._store, self._standards, self._publish, outgoing)
            self._start_child(Subprocess("measurement server", measure_arguments(self._settings)))
            self._start(PeriodicTask("records", COLLECT_INTERVAL_S, tick))

    def _start_watched(self, task: PeriodicTask) -> None:
        """One without which the collector is not healthy: it commits something at every run."""
        within_s = self._settings.web.healthy_within_s + task.pause_s
        self.health.watched.append(Watched(task.name, within_s, task.age_s))
        self._start(task)

    def reload(self, read: Callable[[], Settings]) -> Reload:
        return Reload(
            self._settings, read, lambda settings: self.outbox.use(read_channels(settings, self._store)),
            self.certificates,
        )  # fmt: skip

    def _start_broker(self, broker: EmbeddedBroker | MosquittoChild) -> None:
        if isinstance(broker, MosquittoChild):
            self._start_child(broker)
        else:
            self._start(broker)

    def _start_child(self, child: Tended) -> None:
        self.children.append(child)
        self._start(child)

    def _start(self, part: Component) -> None:
        self._stack.callback(part.stop)  # also of one that fails half-way
        part.start()
        self.parts.append(part)

    def watch(self, stop: threading.Event, hangup: threading.Event, reload: Callable[[], None]) -> int:
        """Notifies systemd as long as all parts are alive; `hangup` requests a reload."""
        logged_s, logged_readings = time.monotonic(), 0
        while not stop.wait(POLL_INTERVAL_S):
            if gone := self._files.gone():
                self._end_without(gone)
                return 1
            if dead := [part for part in self.parts if not part.is_alive()]:
                PART_ENDED.log(part=type(dead[0]).__name__)
                return 1
            for child in self.children:
                child.tend()
            if hangup.is_set():
                hangup.clear()
                sdnotify.tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
                reload()
                sdnotify.tell("READY=1")
            sdnotify.tell("WATCHDOG=1")
            if time.monotonic() - logged_s >= LOG_INTERVAL_S:
                readings = self.ingest.readings
                ALIVE.log(last_minute=readings - logged_readings, readings=readings)
                logged_s, logged_readings = time.monotonic(), readings
        STOPPING.log()
        return 0

    def _end_without(self, gone: Path) -> None:
        """No receipt is given any more. What SQLite's log still holds goes into its database, wherever that is now: who
        puts the file back, or has taken the log alone, loses nothing."""
        GONE.log(file=gone)
        self.ingest.stop()
        if not self._store.parted:
            with suppress(*UNAVAILABLE, sqlite3.Error):
                self._store.checkpoint()
            self._rescue()

    def _rescue(self) -> None:
        """Whoever deleted the database lost a name; the file is there until this process ends."""
        try:
            rescued = rescue(self._store, clock_ms(), lambda _share: sdnotify.tell("WATCHDOG=1"))
        except StoreError as error:
            NOT_RESCUED.log(error=error)
        else:
            if rescued is not None:
                RESCUED.log(file=database_file(self._settings.database_url), rescued=rescued)


def measure_arguments(settings: Settings) -> list[str]:
    """The subcommand that runs the measurement server; it names itself to clients by its public address."""
    arguments = ["measure", "--listen", settings.measure.listen, "--tests", str(tests_at_once(settings))]
    arguments += ["--state", str(settings.data_dir / MEASURE), "--log-format", settings.collector.log_format]
    if settings.measure.networks is not None:
        arguments += ["--networks", str(settings.measure.networks)]
    public = urlsplit(settings.measure.public_url).netloc
    return [*arguments, "--public", public] if public else arguments


def _measure_state(settings: Settings, key: bytes) -> Outgoing:
    """The folder of our own measurement server: it belongs to us without having to join, signs with our key, whose
    public part is `key`, and leaves there what it saw. Returns its records."""
    folder = settings.data_dir / MEASURE
    own = membership.Joined(
        name=requests.HERE,
        collector="",
        collector_key=base64.b64encode(key).decode(),
        key_file=str((settings.data_dir / KEY_FILE).absolute()),
    )
    membership.note(folder, own)
    return Outgoing(folder / membership.RECORDS)


def tests_at_once(settings: Settings) -> int:
    return places(settings.measure.bandwidth_mbps, settings.measure.line_mbps)
