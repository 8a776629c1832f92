"""Backups and drills at their times, each in a process of its own: they take minutes of a core, and nobody waits."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

from agent.common.logs import Event
from collector.common.config import Settings
from collector.recovery import drill
from collector.run import child_process
from collector.run.runtime import SYSTEMD
from collector.store import Store

BACKUP_MADE = Event(
    __name__, "info", "backup_made", "a backup was written and read back whole", fields="file size took_s"
)
DRILL_PASSED = Event(
    __name__, "info", "drill_passed", "the newest backup was restored beside the running system, and is whole",
    fields="file took_s",
)  # fmt: skip
COPY_FAILED = Event(
    __name__, "error", "backup_failed", "a backup or a drill failed; it is tried again", key="act", fields="file code"
)

TICK_S = 30.0
RETRY_MS = 600_000
HOUR_MS = 3_600_000


class Backups:
    """`tick` is to be called by one thread: the kernel ends a child with the thread that started it."""

    def __init__(
        self, store: Store, settings: Settings, child_options: Sequence[str], now_ms: Callable[[], int]
    ) -> None:
        self._store, self._options, self._now_ms = store, child_options, now_ms
        section = settings.backup
        self._every_ms = {"backup": section.every_h * HOUR_MS, "drill": section.drill_every_h * HOUR_MS}
        self._tried_ms = dict.fromkeys(self._every_ms, 0)
        self._running: tuple[str, subprocess.Popen[bytes]] | None = None

    def tick(self) -> None:
        if self._running is not None:
            act, process = self._running
            if process.poll() is None:
                return
            self._running = None
            self._log(act, process.returncode)
        for act, every_ms in self._every_ms.items():
            if every_ms and self._is_due(act, every_ms):
                self._running = act, self._started(act)
                return

    def _is_due(self, act: str, every_ms: float) -> bool:
        now_ms = self._now_ms()
        if 0 <= now_ms - self._tried_ms[act] < RETRY_MS:
            return False
        with self._store.read() as conn:
            newest, backup = drill.newest(conn, act), drill.newest(conn, "backup")
        if act == "drill" and (backup is None or not backup.is_good):
            return False
        if newest is None or newest.at_ms > now_ms:  # a clock that was ahead is no reason for waiting
            return True
        return now_ms - newest.at_ms >= (every_ms if newest.is_good else min(RETRY_MS, every_ms))

    def _started(self, act: str) -> subprocess.Popen[bytes]:
        self._tried_ms[act] = self._now_ms()
        argv = child_process.command([act, *self._options, "--json"])
        environment = {name: value for name, value in os.environ.items() if name not in SYSTEMD}
        null = subprocess.DEVNULL
        process = subprocess.Popen(argv, stdin=null, stdout=null, start_new_session=True, env=environment)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)
        return process

    def _log(self, act: str, code: int) -> None:
        with self._store.read() as conn:
            newest = drill.newest(conn, act)
        if newest is None or newest.at_ms < self._tried_ms[act] or not newest.is_good:
            COPY_FAILED.log(act=act, file=newest.file if newest else "", code=code)
        elif act == "backup":
            BACKUP_MADE.log(file=newest.file, size=newest.size, took_s=round(newest.took_s, 1))
        else:
            DRILL_PASSED.log(file=newest.file, took_s=round(newest.took_s, 1))
