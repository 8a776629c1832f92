"""The kinds of parts a running collector is made of: work repeated in a thread, a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from agent.common.logs import Event
from agent.common.threads import join_started
from collector.common.processes import Restarts, end
from collector.run import child_process
from collector.store import UNAVAILABLE

DATABASE_AWAY = Event(
    __name__, "error", "database_away", "the database does not answer; the task is tried again", key="task",
    fields="error",
)  # fmt: skip
FAILED = Event(
    __name__, "error", "task_failed", "a periodic task failed; it is tried again", key="task", fields="error again_s",
    has_trace=True,
)  # fmt: skip
ENDED = Event(
    __name__, "error", "process_ended", "a child process ended by itself; it is started again", key="process",
    fields="code again_s",
)  # fmt: skip

STOP_S = 10.0
SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Component(Protocol):
    """What the service starts and stops; a part that is no longer alive ends the service."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def is_alive(self) -> bool: ...


class Tended(Component, Protocol):
    """A part in a process of its own; `tend` starts it again when it has ended."""

    def tend(self) -> None: ...


class PeriodicTask:
    """Does `work` every `pause_s` seconds in a thread, or sooner if it is woken; a failure is logged and the next run
    tries again."""

    def __init__(self, name: str, pause_s: float, work: Callable[[], object]) -> None:
        self.name, self.pause_s, self.work = name, pause_s, work
        self._stopped, self._woken = threading.Event(), threading.Event()
        self._done_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._woken.set()
        join_started(self._thread)

    def wake(self) -> None:
        """Lets it run at once, or once more after the present run. Any thread."""
        self._woken.set()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def age_s(self) -> float:
        """Seconds since it last succeeded, or was made. Any thread."""
        return time.monotonic() - self._done_s

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._woken.clear()
            try:
                self.work()
                self._done_s = time.monotonic()
            except UNAVAILABLE as error:
                DATABASE_AWAY.log(task=self.name, error=error)
            except Exception as error:
                FAILED.log(task=self.name, error=error, again_s=self.pause_s)
            if not self._stopped.is_set():  # else `stop` has just been followed by our own clearing
                self._woken.wait(self.pause_s)


class Subprocess:
    """A subcommand of ours in a process of its own, started again when it ends. `tend` must be called now and then,
    by the thread that called `start`: the kernel ends the child with it, by the signal `at_end`."""

    def __init__(self, name: str, words: Sequence[str], at_end: signal.Signals = signal.SIGTERM) -> None:
        self.name = name
        self._argv = child_process.command(words, at_end)
        self._process: subprocess.Popen[bytes] | None = None
        self._restarts = Restarts()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        self._spawn()

    def _spawn(self, words: Sequence[str] = (), sockets: Collection[int] = ()) -> None:
        # Its own session, so that Ctrl-C in a terminal reaches only us and parts stop in order; and no notification of
        # its own to systemd, which would take it for ours.
        environment = {name: value for name, value in os.environ.items() if name not in SYSTEMD}
        self._process = subprocess.Popen(
            [*self._argv, *words], stdin=subprocess.DEVNULL, start_new_session=True, env=environment, pass_fds=sockets
        )
        self._restarts.record_start(time.monotonic())

    def tend(self) -> None:
        if self._process is None or self._process.poll() is None:
            return
        now_s = time.monotonic()
        if self._restarts.record_end(now_s):
            ENDED.log(process=self.name, code=self._process.returncode, again_s=self._restarts.pause_s)
        if self._restarts.is_due(now_s):
            self.start()

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        end(self._process, STOP_S)

    def is_alive(self) -> bool:
        return self._process is not None
