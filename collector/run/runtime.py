"""The kinds of parts a running collector is made of: work repeated in a thread, a child process, the web server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import uvicorn
from fastapi import FastAPI

from agent.common import tls
from agent.common.logs import Event
from agent.common.tcp import ListeningSocket
from agent.common.threads import join_started
from collector.config import HttpSection
from collector.run.http_protocol import HEAD_BYTES, bounded_protocol, deadline_loop
from collector.store import UNAVAILABLE

DATABASE_AWAY = Event(
    __name__, "error", "database_away", "the database does not answer; the task is tried again", key="task",
    fields="error",
)  # fmt: skip
FAILED = Event(
    __name__, "error", "task_failed", "a periodic task failed; it is tried again", key="task", fields="error again_s",
    has_trace=True,
)  # fmt: skip
RESTARTED = Event(
    __name__, "error", "process_restarted", "a child process ended; it is started again", key="process", fields="code"
)

STOP_S = 10.0
RESTART_S = 5.0
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
        self.name, self.pause_s, self._work = name, pause_s, work
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
                self._work()
                self._done_s = time.monotonic()
            except UNAVAILABLE as error:
                DATABASE_AWAY.log(task=self.name, error=error)
            except Exception as error:
                FAILED.log(task=self.name, error=error, again_s=self.pause_s)
            if not self._stopped.is_set():  # else `stop` has just been followed by our own clearing
                self._woken.wait(self.pause_s)


class Subprocess:
    """A subcommand of ours in a process of its own, started again when it ends. `tend` must be called now and then,
    by the thread that called `start`: the kernel ends the child with it."""

    def __init__(self, name: str, words: Sequence[str]) -> None:
        self._name = name
        self._argv = [sys.executable, "-m", "collector.run.child_process", str(os.getpid()), *words]
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0

    def start(self) -> None:
        # Its own session, so that Ctrl-C in a terminal reaches only us and parts stop in order; and no notification of
        # its own to systemd, which would take it for ours.
        environment = {name: value for name, value in os.environ.items() if name not in SYSTEMD}
        self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, start_new_session=True, env=environment)
        self._started_s = time.monotonic()

    def tend(self) -> None:
        if self._process is None or self._process.poll() is None:
            return
        if time.monotonic() - self._started_s > RESTART_S:
            RESTARTED.log(process=self._name, code=self._process.returncode)
            self.start()

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def is_alive(self) -> bool:
        return self._process is not None


class WebServer:
    """uvicorn in a thread. `before_stop` ends what would keep it waiting. With `files` (certificate,
    key) it speaks TLS 1.3 alone. `proxies` are believed in whom they speak for."""

    def __init__(
        self,
        app: FastAPI,
        place: ListeningSocket,
        before_stop: Callable[[], None],
        files: tuple[Path, Path] | None = None,
        limits: HttpSection | None = None,
        proxies: Sequence[str] = (),
    ) -> None:
        limits = limits or HttpSection()
        config = uvicorn.Config(
            app,
            http=bounded_protocol(limits, place),
            ws="none",
            h11_max_incomplete_event_size=HEAD_BYTES,
            log_config=None,
            access_log=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_graceful_shutdown=3,
            server_header=False,
        )
        config.load()
        self._files = files
        self._context = config.ssl = None if files is None else tls.server_context(*files)
        self._server = uvicorn.Server(config)
        self._place, self._limits = place, limits
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._before_stop = before_stop

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: deadline_loop(self._limits)) as runner:
            runner.run(self._server.serve([self._place]))

    def reload(self) -> None:
        """What the files hold now, for every handshake from here on. Raises OSError."""
        if self._context is not None and self._files is not None:
            tls.show(self._context, *self._files)

    def stop(self) -> None:
        self._before_stop()
        self._server.should_exit = True
        join_started(self._thread)

    def is_alive(self) -> bool:
        return self._thread.is_alive()
