"""Jobs that one process does at a time, whichever of several machines: upkeep, archive, audit, log, messages.

One that dies leaves its leases to run out; within a minute another has taken its jobs. What they work on are rows of
the database that say themselves what is due, so nothing is handed over. Jobs about centers are shared out in shards.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import sqlalchemy as sa

from agent.common.errors import describe, printable
from agent.common.logs import Event
from collector.run.runtime import PeriodicTask
from collector.store import UNAVAILABLE, Store
from collector.store.jobs import leases
from collector.store.jobs.leases import LEASE_MS, LeaseLost, RunOutcome
from collector.store.jobs.shards import Shard, shards_of

TAKEN = Event(__name__, "info", "job_taken", "this process does a job from now on", fields="jobs")
LOST = Event(
    __name__, "warning", "job_lost", "another process does a job now: this one was not heard of", fields="jobs"
)

COLLECTOR, WORKER = "collector", "worker"  # what a holder is: there is one collector, and any number of workers


def holder_of(kind: str) -> str:
    """This process by a name that no other has."""
    return f"{kind} {printable(socket.gethostname(), 60)} {os.getpid()} {secrets.token_hex(4)}"


@dataclass
class Job:
    name: str
    work: Callable[[], object]
    began: Callable[[], object]
    wake: Callable[[], None] = lambda: None
    is_held: bool = False
    is_new: bool = False
    outcome: RunOutcome = field(default_factory=RunOutcome)
    is_saved: bool = True  # whether the outcome is in the database


class Jobs:
    """Those that this process may do. `tick` is to be called every `leases.RENEW_S`, and once before its tasks are
    started."""

    def __init__(
        self,
        store: Store,
        holder: str,
        now_ms: Callable[[sa.Connection], int] = leases.clock_ms,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self.holder, self._now_ms, self._now_s = store, holder, now_ms, now_s
        self._jobs: dict[str, Job] = {}
        self._shared: list[list[str]] = []  # the shards of each job that is shared out
        self._lock = threading.Lock()
        self._renewed_s = now_s()

    def shared_task(self, name: str, pause_s: float, work: Callable[[Shard], object]) -> PeriodicTask:
        """Does `work` for each shard that this process has."""
        shards = shards_of("postgresql" if self._store.parted else "sqlite")
        mine = [Job(shard.name(name), partial(work, shard), lambda: None) for shard in shards]
        self._jobs |= {job.name: job for job in mine}
        self._shared.append([job.name for job in mine])

        def tick() -> None:
            failures: list[Exception] = []
            for job in mine:
                try:
                    self._run(job)
                except Exception as error:
                    failures.append(error)
            if failures:
                raise failures[0]

        task = PeriodicTask(name, pause_s, tick)
        for job in mine:
            job.wake = task.wake
        return task

    def task(
        self, name: str, pause_s: float, work: Callable[[], object], began: Callable[[], object] = lambda: None
    ) -> PeriodicTask:
        """Does `work` while this process has the job, at once and after `began` when it has just taken it."""
        job = self._jobs[name] = Job(name, work, began)
        task = PeriodicTask(name, pause_s, lambda: self._run(job))
        job.wake = task.wake
        return task

    def seize(self) -> None:
        """What a collector before this one had is free at once: there is never more than one."""
        with self._store.aside() as conn:
            leases.end(conn, f"{COLLECTOR} ")

    def tick(self) -> None:
        """Raises what UNAVAILABLE names."""
        with self._lock:
            unsaved = {job.name: job.outcome for job in self._jobs.values() if not job.is_saved}
        began_s = self._now_s()
        shards = set[str]().union(*self._shared)
        with self._store.aside() as conn:
            now_ms = self._now_ms(conn)
            leases.present(conn, self.holder, now_ms)
            held = leases.take(conn, self._jobs.keys() - shards, self.holder, now_ms)
            for names in self._shared:
                held |= leases.share(conn, names, self.holder, now_ms)
            leases.record(conn, unsaved, self.holder)
        with self._lock:
            self._renewed_s = began_s
            taken, lost = self._note(held)
            for job in self._jobs.values():
                job.is_saved = job.is_saved or unsaved.get(job.name) == job.outcome
        if taken:
            TAKEN.log(jobs=", ".join(sorted(taken)))
        if lost:
            LOST.log(jobs=", ".join(sorted(lost)))

    def _note(self, held: set[str]) -> tuple[list[str], list[str]]:
        taken = [job for job in self._jobs.values() if job.name in held and not job.is_held]
        lost = [job for job in self._jobs.values() if job.name not in held and job.is_held]
        for job in taken:
            job.is_held = job.is_new = True
            job.wake()
        for job in lost:
            job.is_held = job.is_new = False
        return [job.name for job in taken], [job.name for job in lost]

    def stop(self) -> None:
        """Others need not wait for our leases to run out."""
        try:
            with self._store.aside() as conn:
                leases.release(conn, self.holder)
        except UNAVAILABLE:
            pass  # they run out

    def holds(self, name: str) -> bool:
        """As far as this process knows: each transaction asks the database."""
        with self._lock:
            return self._jobs[name].is_held and self._now_s() - self._renewed_s < LEASE_MS / 1000

    def _run(self, job: Job) -> None:
        if not self.holds(job.name):
            return
        started_s = self._now_s()
        try:
            with leases.guarding(job.name, self.holder):
                if job.is_new:
                    job.began()
                    job.is_new = False
                job.work()
        except LeaseLost:
            with self._lock:
                job.is_held = job.is_new = False
            LOST.log(jobs=job.name)
        except Exception as error:
            before = job.outcome
            self._record(job, replace(before, failures=before.failures + 1, error=describe(error)[:500], done_ms=None))
            raise
        else:
            took_ms = round((self._now_s() - started_s) * 1000)
            self._record(job, RunOutcome(time.time_ns() // 1_000_000, took_ms))

    def _record(self, job: Job, outcome: RunOutcome) -> None:
        with self._lock:
            job.outcome, job.is_saved = outcome, False
