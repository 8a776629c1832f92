"""The running collector: builds the parts from the settings, starts them in order, stops them in reverse.

The only module that knows all the others. Speed tests run in a process of their own, so that they never starve ingest.
"""

from __future__ import annotations

import base64
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit

import sqlalchemy as sa

from agent.common.errors import describe
from agent.common.logs import Event
from collector.access.signing_key import KEY_FILE, load_or_make
from collector.alerts.channel import Channel, by_apprise
from collector.alerts.outbox import Outbox
from collector.config import ConfigError, Settings
from collector.database import opened
from collector.ingest import server_results
from collector.ingest.workers import IngestWorkers
from collector.judging.silence import listening_again, sweep
from collector.measure import membership
from collector.measure.delivery import Outgoing
from collector.messages import MessageRefused
from collector.outages import gaps
from collector.reports import revisions
from collector.run import sdnotify
from collector.run.housekeeping import EVERY_S as HOUSEKEEPING_S
from collector.run.housekeeping import Housekeeping
from collector.run.runtime import Component, PeriodicTask, Subprocess, WebServer
from collector.run.tls_maintenance import TlsMaintenance, bound
from collector.run.upgrades import opened_and_upgraded
from collector.speedtests import requests
from collector.speedtests.policy import places
from collector.speedtests.scheduler import TestScheduler
from collector.standard import StandardError, Standards, example, load
from collector.store import Store, schema
from collector.web.app import build
from collector.web.live import Hub

STARTED = Event(__name__, "info", "collector_started", "the collector runs; its pages are here", fields="url")
STOPPING = Event(__name__, "info", "collector_stopping", "the collector was asked to stop")
PART_ENDED = Event(
    __name__, "critical", "part_ended", "a part of the collector ended by itself; the collector stops", fields="part"
)
ALIVE = Event(
    __name__, "info", "collector_alive", "readings taken in the last minute, and since the start",
    fields="last_minute readings",
)  # fmt: skip
RECORD_REFUSED = Event(
    __name__, "error", "server_result_refused", "a result of our own measurement server cannot be taken; it is kept in "
    "the folder `refused`", fields="code error",
)  # fmt: skip

MEASURE = "measure"  # the folder of our own measurement server, under `data_dir`

LOOK_S = 1.0
SAY_S = 60.0
FOLLOW_S = 1.0
PACE_S = 1.0  # between two looks at who may test
GATHER_S = 1.0  # between two looks for records of our own measurement server


def clock_ms() -> int:
    return time.time_ns() // 1_000_000


def serve(settings: Settings, *, migrates: bool = False, again: Sequence[str] = ()) -> int:
    """Runs until SIGTERM or SIGINT (0), or until a part ends by itself (1). `again` are the options with which a child
    finds the same settings.

    Raises ConfigError, StoreError or broker.BrokerError when it cannot start.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        running = Running(settings, stack, migrates=migrates, again=again)
        STARTED.log(url=settings.web_url)
        sdnotify.tell("READY=1")
        stack.callback(sdnotify.tell, "STOPPING=1")
        return running.watch(stop)


class Running:
    """The started parts; `stack` stops them."""

    def __init__(
        self, settings: Settings, stack: ExitStack, *, migrates: bool = False, again: Sequence[str] = ()
    ) -> None:
        self._settings, self._stack = settings, stack
        self._standards = read_standards(settings)
        self._store = stack.enter_context(opened_and_upgraded(settings, migrates=migrates))
        self._key = load_or_make(settings.data_dir)
        self._public_key = self._key.public_key().public_bytes_raw()
        self._hub = Hub()
        place = stack.enter_context(bound(settings.web.listen, "[web] listen"))
        app = build(self._store, settings, self._hub, standards=self._standards, key=self._key)
        own = stack.enter_context(opened(settings.as_ingest)) if settings.database.ingest_url else self._store
        keeper = TlsMaintenance(settings, self._store, clock_ms)
        self.intake = IngestWorkers(
            settings, own, self._key, self._standards, keeper.addresses(), self._hub.publish, clock_ms
        )
        self.children: list[Subprocess] = []
        self.parts: list[Component] = []
        with own.write() as conn:
            listening_again(conn, self._standards, clock_ms())
        with self._store.write() as conn:
            runs, at_once = settings.measure.enabled, tests_at_once(settings)
            requests.note_here(conn, settings.measure_url, self._public_key, at_once, clock_ms(), runs=runs)
        if settings.broker.url == "embedded":
            self._start(keeper.broker())
        self._listen(again)
        self._look(own)
        self._measure()
        self._start(WebServer(app, place, self._hub.close))
        for part in keeper.parts(app, stack):
            self._start(part)

    def _listen(self, again: Sequence[str]) -> None:
        """What takes readings: our own intake, and workers beside it."""
        self._start(self.intake)
        for number in range(2, self._settings.ingest.workers + 1):
            self._start_child(Subprocess(f"ingest worker {number}", ["ingest", *again]))
        if self._settings.ingest.shares:
            self._start(PeriodicTask("follow", FOLLOW_S, _follower(self._store, self._hub)))

    def _look(self, own: Store) -> None:
        """What looks at the database now and then: for silence, for old months, for alerts."""
        settings = self._settings
        look = _sweeper(own, self._standards, self._hub, settings.sweep.gap_s)
        self._start(PeriodicTask("sweep", settings.sweep.every_s, look))
        tidy = Housekeeping(self._stack.enter_context(opened(settings.as_keeper)), settings, self._standards, clock_ms)
        self._start(PeriodicTask("housekeeping", HOUSEKEEPING_S, tidy.look))
        # Without channels it still empties the queue, so that a channel added later is not told old news.
        outbox = Outbox(self._store, read_channels(settings), self._standards, settings.web_url, clock_ms)
        outbox.after_start()
        self._start(PeriodicTask("alerts", settings.alerts.every_s, outbox.look))

    def _measure(self) -> None:
        """Who gives turns at measurement servers, and the one that is ours."""
        pacer = TestScheduler(self._store, self._key, self.intake.tell, self._hub.publish, clock_ms)
        self._start(PeriodicTask("pacer", PACE_S, pacer.look))
        if self._settings.measure.enabled:
            outgoing = _measure_state(self._settings, self._public_key)
            gather = _gatherer(self._store, self._standards, self._hub, outgoing)
            self._start_child(Subprocess("measurement server", measure_words(self._settings)))
            self._start(PeriodicTask("records", GATHER_S, gather))

    def _start_child(self, child: Subprocess) -> None:
        self.children.append(child)
        self._start(child)

    def _start(self, part: Component) -> None:
        self._stack.callback(part.stop)  # also of one that fails half-way
        part.start()
        self.parts.append(part)

    def watch(self, stop: threading.Event) -> int:
        """Tells systemd that all is well as long as it is."""
        said_s, said_readings = time.monotonic(), 0
        while not stop.wait(LOOK_S):
            if dead := [part for part in self.parts if not part.is_alive()]:
                PART_ENDED.log(part=type(dead[0]).__name__)
                return 1
            for child in self.children:
                child.tend()
            sdnotify.tell("WATCHDOG=1")
            if time.monotonic() - said_s >= SAY_S:
                readings = self.intake.readings
                ALIVE.log(last_minute=readings - said_readings, readings=readings)
                said_s, said_readings = time.monotonic(), readings
        STOPPING.log()
        return 0


def measure_words(settings: Settings) -> list[str]:
    """The subcommand that runs the measurement server; it names itself to clients as gateways are told to reach it."""
    words = ["measure", "--listen", settings.measure.listen, "--tests", str(tests_at_once(settings))]
    words += ["--state", str(settings.data_dir / MEASURE), "--log-format", settings.collector.log_format]
    public = urlsplit(settings.measure.public_url).netloc
    return [*words, "--public", public] if public else words


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


def read_standards(settings: Settings) -> Standards:
    """The versions of the standard that the settings name. Raises ConfigError."""
    try:
        return Standards.of([load(path) for path in settings.standard.files] or [example()])
    except StandardError as error:
        raise ConfigError(str(error)) from None


def read_channels(settings: Settings) -> list[Channel]:
    """Where alerts go. Raises ConfigError for an address that Apprise does not know."""
    try:
        return [
            by_apprise(channel.name, channel.secret_url(), channel.events, channel.languages)
            for channel in settings.alerts.channels
        ]
    except ValueError as error:
        raise ConfigError(f"[[alerts.channels]] {describe(error)}") from None


def _sweeper(store: Store, standards: Standards, hub: Hub, gap_s: float) -> Callable[[], None]:
    def look() -> None:
        with store.write() as conn:
            swept = sweep(conn, standards, clock_ms())
            moved = set(conn.scalars(_NEWEST.limit(swept.changed))) if swept.changed else set()
            began = gaps.reconsider(conn, clock_ms(), gap_s)
            revisions.note_outages(conn, began, clock_ms())
            moved |= {code for code, _ in began}
        if moved:
            hub.publish(moved)

    return look


def _gatherer(store: Store, standards: Standards, hub: Hub, outgoing: Outgoing) -> Callable[[], None]:
    def gather() -> None:
        for path in outgoing.waiting():
            try:
                with store.write() as conn:
                    touched = server_results.take_record(conn, path.read_bytes(), clock_ms(), standards)
            except MessageRefused as refused:
                RECORD_REFUSED.log(code=refused.finding, error=refused)
                outgoing.set_aside(path)
            else:
                outgoing.done(path)
                hub.publish(touched)

    return gather


def _follower(store: Store, hub: Hub) -> Callable[[], None]:
    """Tells the pages of centers that other workers have heard."""
    seen_ms = clock_ms()

    def look() -> None:
        nonlocal seen_ms
        heard = schema.pulse.c
        with store.read() as conn:
            rows = conn.execute(sa.select(heard.center, heard.heard_ms).where(heard.heard_ms >= seen_ms)).all()
        if rows:
            seen_ms = max(row.heard_ms for row in rows)
            hub.publish({row.center for row in rows})

    return look


_NEWEST = sa.select(schema.changes.c.center).order_by(schema.changes.c.id.desc())
