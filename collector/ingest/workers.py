"""Ingest workers: a subscriber at each broker, one transaction behind them. `serve` has one, `ingest` is one.

Several workers, in processes or on machines, share the brokers' subscriptions and coordinate by the
database alone: each claims the centers of its group until its commit. One that dies leaves nothing half done; what was
in its hands has no receipt, so gateways send it again.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common.errors import printable
from agent.common.logs import Event
from agent.common.threads import SignalEvent
from collector.access import floods
from collector.access.ca import Authority
from collector.access.server_certs import worker_certificate
from collector.access.signing_key import load_or_make
from collector.brokers.endpoints import Address, broker_addresses
from collector.brokers.mosquitto import chosen
from collector.common.config import ConfigError, Settings
from collector.common.messages import Message
from collector.desk import follow
from collector.ingest import server_results
from collector.ingest.mqtt.subscriber import Subscriber
from collector.ingest.transaction import Ingest, Judge
from collector.ingest.verify import addressed
from collector.judging import reopening
from collector.judging.clock import ClockWatch
from collector.judging.evaluate import FreshReading, judge_group
from collector.judging.outages import gaps
from collector.register.centers import Center
from collector.speedtests import requests
from collector.standard import Standards
from collector.store import UNAVAILABLE, Store
from collector.store.database import opened
from collector.store.jobs import workers as beats
from collector.store.jobs.workers import WorkerRow

WORKING = Event(
    __name__, "info", "ingest_worker_alive", "readings that this worker took since its start", fields="readings"
)
STOPPING = Event(__name__, "info", "ingest_worker_stopping", "this worker was asked to stop", fields="readings")

FORGOTTEN = Event(
    __name__, "error", "ingest_worker_forgotten", "nothing was heard of this worker for an hour; it is not watched any "
    "more", fields="worker",
)  # fmt: skip

POLL_INTERVAL_S = 1.0
LOG_INTERVAL_S = 60.0
BEAT_INTERVAL_S = 5.0
FORGET_S = 3600.0  # one that was stopped by force is named for so long


class IngestWorkers:
    """The listeners at all brokers. `notify` gets the centers whose state moved."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        key: Ed25519PrivateKey,
        standards: Standards,
        addresses: Sequence[Address],
        notify: Callable[[set[str]], None],
        now_ms: Callable[[], int],
    ) -> None:
        _check(settings)
        shared = settings.ingest.shares
        name = f"nabz-{printable(socket.gethostname(), 64)}-{os.getpid()}" if shared else "nabz-collector"
        watch = ClockWatch(lambda: time.monotonic_ns() // 1_000_000)
        ingest = Ingest(store, key, judge_with(settings, standards), settings.sweep.silent_after_s, watch=watch)
        self._lost_s: float | None = None  # since when not all brokers give us messages
        groups = [addresses] if settings.broker.cluster else [[address] for address in addresses]
        self.listeners = [
            Subscriber(first, ingest, notify, now_ms, name, shared=shared, others=others) for first, *others in groups
        ]

    def start(self) -> None:
        for listener in self.listeners:
            listener.start()

    def stop(self) -> None:
        for listener in self.listeners:
            listener.stop()

    def is_alive(self) -> bool:
        return all(listener.is_alive() for listener in self.listeners)

    def age_s(self) -> float:
        """Seconds that messages in hand wait for their commit, the longest of all listeners'."""
        return max(listener.age_s() for listener in self.listeners)

    def is_connected(self) -> bool:
        """Whether all brokers give us messages."""
        return all(listener.connected.is_set() for listener in self.listeners)

    def row(self, number: int, now_ms: int) -> WorkerRow:
        """What this worker says of itself."""
        now_s, times = time.monotonic(), [listener.committed_ms for listener in self.listeners]
        self._lost_s = None if self.is_connected() else self._lost_s or now_s
        waits, wait_s = "broker", now_s - (self._lost_s or now_s)
        if self._lost_s is None:
            waits, wait_s = ("commit", self.age_s()) if self.age_s() >= BEAT_INTERVAL_S else ("", 0.0)
        committed_ms = max((ms for ms in times if ms is not None), default=None)
        return WorkerRow(printable(socket.gethostname(), 64), number, now_ms, committed_ms, waits, wait_s)

    def floods(self) -> frozenset[str]:
        """Gateways that flooded since the last call (collector.access.floods). Any thread."""
        topics = frozenset[str]().union(*(listener.floods() for listener in self.listeners))
        return frozenset(addressed(Message(topic, b"")).device for topic in topics) - {""}

    def on_flood(self, wake: Callable[[], None]) -> None:
        """`wake` is called, in any thread, when `floods` has news."""
        for listener in self.listeners:
            listener.on_flood(wake)

    def publish(self, messages: Sequence[Message]) -> bool:
        """Sends them by every broker, as a gateway may be at any; whether one at least took them. Any thread."""
        published = [listener.publish(messages) for listener in self.listeners]  # all of them, whatever the first says
        return any(published)

    @property
    def readings(self) -> int:
        """Readings taken by this process since its start."""
        return sum(listener.readings for listener in self.listeners)


def judge_with(settings: Settings, standards: Standards) -> Judge:
    """All that thinks about fresh readings, in the order in which it must. It returns how many changes people could be
    told of."""

    def judge(conn: sa.Connection, group: Sequence[tuple[Center, Sequence[FreshReading]]], now_ms: int) -> int:
        reopening.record_group(conn, group, now_ms)
        reopening.record_outages(conn, gaps.record_group(conn, group, now_ms, settings.sweep.gap_s), now_ms)
        seen = server_results.attach(conn, group, now_ms)
        requests.record_group(conn, seen, standards, now_ms)
        changed = judge_group(conn, seen, standards, now_ms)
        return follow.follow(conn, standards, now_ms) if changed else 0

    return judge


def work(settings: Settings, standards: Standards, now_ms: Callable[[], int], number: int = 1) -> int:
    """Worker `number` until SIGTERM or SIGINT (0), or until it cannot go on (1). Raises ConfigError, StoreError."""
    stop = SignalEvent()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    with ExitStack() as stack:
        store = stack.enter_context(opened(settings.as_ingest, keys=True))
        key = load_or_make(settings.data_dir)
        authority = Authority(settings.data_dir, now_ms(), settings.enrolment.certificate_days)
        addresses = broker_addresses(settings, worker_certificate(authority, settings, number, now_ms()))
        shared = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"shared": True})})
        workers = IngestWorkers(shared, store, key, standards, addresses, lambda _codes: None, now_ms)
        stack.callback(workers.stop)  # also if one of several listeners cannot begin
        workers.start()
        if settings.ingest.metrics_port:
            from collector.ingest import metrics  # of no use to those who do not scrape

            stack.enter_context(metrics.served(workers, settings.ingest.metrics_port + number - 1))
        logged_s = beat_s = time.monotonic()
        while not stop.wait(POLL_INTERVAL_S):
            if not workers.is_alive():
                return 1
            _record_floods(store, workers, now_ms())
            if time.monotonic() - beat_s >= BEAT_INTERVAL_S:
                beat_s = time.monotonic()
                _beat(store, workers.row(number, now_ms()))
            if time.monotonic() - logged_s >= LOG_INTERVAL_S:
                logged_s = time.monotonic()
                WORKING.log(readings=workers.readings)
        STOPPING.log(readings=workers.readings)
        _leave(store, number)
    return 0


def _beat(store: Store, row: WorkerRow) -> None:
    """That this process can write, and for what its messages wait: `serve` looks for it."""
    with suppress(*UNAVAILABLE), store.write() as conn:
        beats.record(conn, row)


def _leave(store: Store, number: int) -> None:
    with suppress(*UNAVAILABLE), store.write() as conn:
        beats.forget(conn, printable(socket.gethostname(), 64), number)


class WorkerBeats:
    """When workers last said that they work, on this machine (`numbers`: those that must be there) and on others, as
    far as `look` has seen: their clock may be another, so it counts when what they wrote has changed. One of another
    machine that says nothing for `FORGET_S` is forgotten."""

    def __init__(self, store: Store, numbers: Sequence[int], now_s: Callable[[], float] = time.monotonic) -> None:
        self._store, self._now_s = store, now_s
        here = printable(socket.gethostname(), 64)
        self._expected = frozenset(beats.name_of(number, here) for number in numbers)
        self._seen: dict[str, tuple[WorkerRow | None, float]] = {name: (None, now_s()) for name in self._expected}

    def look(self) -> list[str]:
        """Returns the names of all."""
        with self._store.read() as conn:
            rows = {row.name: row for row in beats.rows(conn)}
        now_s, before = self._now_s(), self._seen
        seen = {name: before[name] for name in self._expected}
        for name, row in rows.items():
            was = before.get(name)
            seen[name] = (row, now_s if was is None or was[0] is None or was[0].at_ms != row.at_ms else was[1])
        self._seen = seen
        for name, row in rows.items():
            if name not in self._expected and now_s - seen[name][1] > FORGET_S:
                FORGOTTEN.log(worker=name)
                with self._store.write() as conn:
                    beats.forget(conn, row.machine, row.number)
        return sorted(self._seen)

    def age_s(self, name: str) -> float:
        """Since it last said that it works, and how long it waits. Any thread."""
        row, at_s = self._seen.get(name, (None, self._now_s()))
        return self._now_s() - at_s + (row.wait_s if row else 0.0)


def _record_floods(store: Store, workers: IngestWorkers, now_ms: int) -> None:
    """For the process that keeps the brokers' access lists. While the database is away nothing is taken anyhow, and a
    flood that lasts is noticed again."""
    if names := workers.floods():
        with suppress(*UNAVAILABLE), store.write() as conn:
            floods.record(conn, names, now_ms)


def _check(settings: Settings) -> None:
    """Raises ConfigError where several workers cannot be."""
    if not settings.ingest.shares:
        return
    if settings.broker.url == "embedded" and chosen(settings.broker) is None:
        fix = "set [broker] url to one that has them (Mosquitto 2, EMQX, HiveMQ …), or [ingest] workers = 1"
        raise ConfigError(f"[ingest] workers: the embedded broker has no shared subscriptions; {fix}")
    if settings.database_url.startswith("sqlite"):
        fix = "set [database] url to a PostgreSQL, or [ingest] workers = 1"
        raise ConfigError(f"[ingest] workers: SQLite has one writer, more would only wait; {fix}")
