"""The archive's work at its time, in a process of its own: it takes minutes of a core and its library much memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

from agent.common.logs import Event
from collector.run import child_process
from collector.run.runtime import SYSTEMD
from collector.store.cold import parts

ARCHIVE_FAILED = Event(
    __name__, "error", "archive_failed", "days that are over could not be archived; they stay in the database",
    fields="code",
)  # fmt: skip
NOT_INSTALLED = Event(
    __name__, "warning", "archive_not_installed", "days that are over stay in the database: pyarrow is not installed",
    fields="needs",
)  # fmt: skip


EVERY_MS = 3_600_000


class Archiving:
    """`tick` is to be called by one thread: the kernel ends a child with the thread that started it."""

    def __init__(self, child_options: Sequence[str], now_ms: Callable[[], int]) -> None:
        self._options, self._now_ms = child_options, now_ms
        self._tried_ms = now_ms() - EVERY_MS + 300_000  # not while everything starts
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the work under way."""
        return None if self._running is None else self._running.pid

    def tick(self) -> None:
        if self._running is not None:
            code = self._running.poll()
            if code is None:
                return
            self._running = None
            if code:
                ARCHIVE_FAILED.log(code=code)
        if 0 <= self._now_ms() - self._tried_ms < EVERY_MS:
            return
        self._tried_ms = self._now_ms()
        if parts.installed():
            self._running = self._started()
        else:
            NOT_INSTALLED.log(needs=parts.NEEDS)

    def _started(self) -> subprocess.Popen[bytes]:
        argv = child_process.command(["archive", *self._options])
        environment = {name: value for name, value in os.environ.items() if name not in SYSTEMD}
        null = subprocess.DEVNULL
        process = subprocess.Popen([*argv, "--json"], stdin=null, stdout=null, start_new_session=True, env=environment)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)
        return process
