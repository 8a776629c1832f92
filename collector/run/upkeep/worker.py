"""`nabz-collector work`: the jobs of upkeep and messages on one more machine, beside `serve`."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import ExitStack

from agent.common.logs import Event
from agent.common.threads import SignalEvent
from collector.access.signing_key import load_or_make
from collector.common.config import ConfigError, Settings
from collector.run import resources, sdnotify
from collector.run.settings import read_standards
from collector.run.tasks import clock_ms
from collector.run.upkeep.jobs import WORKER, Jobs, holder_of
from collector.run.upkeep.tasks import lease_task, message_tasks, outbox_of, upkeep_tasks
from collector.store.database import existing

WORKING = Event(__name__, "info", "worker_started", "this process does jobs that nobody else has", fields="holder")

POLL_INTERVAL_S = 1.0


def work(settings: Settings, words: Sequence[str]) -> int:
    """Until SIGTERM or SIGINT (0), or until it cannot go on (1). Raises ConfigError, StoreError."""
    if settings.database_url.startswith("sqlite"):
        raise ConfigError("[database] url: SQLite has one machine, and `serve` does its jobs; set it to a PostgreSQL")
    stop = SignalEvent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    resources.claim()
    with ExitStack() as stack:
        store = stack.enter_context(existing(settings, keys=True))
        keeper = stack.enter_context(existing(settings.as_keeper))
        standards, key = read_standards(settings), load_or_make(settings.data_dir)
        jobs, outbox = Jobs(store, holder_of(WORKER)), outbox_of(settings, store, standards, clock_ms)
        tasks = upkeep_tasks(jobs, settings, store, keeper, key, standards, words, clock_ms)
        tasks += message_tasks(jobs, settings, outbox)
        stack.callback(jobs.stop)
        stack.callback(outbox.stop)
        jobs.tick()
        for task in (lease_task(jobs), *tasks):
            stack.callback(task.stop)
            task.start()
        WORKING.log(holder=jobs.holder)
        sdnotify.tell("READY=1")
        while not stop.wait(POLL_INTERVAL_S):
            sdnotify.tell("WATCHDOG=1")
            if not all(task.is_alive() for task in tasks):
                return 1
    return 0
