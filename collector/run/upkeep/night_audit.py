"""Each night some centers are verified from the signed bytes, in a process of its own: it takes minutes of a core."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

from agent.common.center_time import UTC_AHEAD_MS
from agent.common.logs import Event
from collector.common.config import Settings
from collector.reports.audit import nightly
from collector.run import child_process
from collector.run.runtime import SYSTEMD
from collector.store import Store

AUDITED = Event(
    __name__, "info", "night_audited", "centers drawn by chance were verified from the signed bytes",
    fields="month centers differing took_s",
)  # fmt: skip
FAILED = Event(
    __name__, "error", "night_audit_failed", "the night's audit broke off; it is tried again in an hour", key="code"
)

TICK_S = 300.0
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def is_due(now_ms: int, hour: int, last_ms: int | None) -> bool:
    """Pure. From that hour of Pakistan on, once a day."""
    begin_ms = (now_ms + UTC_AHEAD_MS) // DAY_MS * DAY_MS - UTC_AHEAD_MS + hour * HOUR_MS
    return now_ms >= begin_ms and (last_ms is None or not begin_ms <= last_ms <= now_ms)


class NightAudit:
    """`tick` is to be called by one thread: the kernel ends a child with the thread that started it."""

    def __init__(
        self, store: Store, settings: Settings, child_options: Sequence[str], now_ms: Callable[[], int]
    ) -> None:
        self._store, self._options, self._now_ms = store, child_options, now_ms
        self._hour, self._tried_ms = settings.audit.hour, 0
        self._running: subprocess.Popen[bytes] | None = None

    def tick(self) -> None:
        if self._running is not None:
            if self._running.poll() is not None:
                self._log(self._running.returncode)
                self._running = None
            return
        now_ms = self._now_ms()
        if 0 <= now_ms - self._tried_ms < HOUR_MS:
            return
        with self._store.read() as conn:
            last = nightly.last(conn)
        if is_due(now_ms, self._hour, last.at_ms if last else None):
            self._tried_ms, self._running = now_ms, self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        words = ["verify", *self._options, "--sample"]
        argv = child_process.command(words)
        environment = {name: value for name, value in os.environ.items() if name not in SYSTEMD}
        null = subprocess.DEVNULL
        process = subprocess.Popen(argv, stdin=null, stdout=null, start_new_session=True, env=environment)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)
        return process

    def _log(self, code: int) -> None:
        with self._store.read() as conn:
            last = nightly.last(conn)
        if last is None or last.at_ms < self._tried_ms:
            FAILED.log(code=code)
        else:
            AUDITED.log(
                month=last.month, centers=last.centers, differing=len(last.differing), took_s=round(last.took_s, 1)
            )  # fmt: skip
