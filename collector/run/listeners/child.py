"""`serve`'s side of its listeners: processes that hold its listening sockets, and what passes between."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal

from agent.common.logs import Event
from collector.run.listeners.pipe import ListenerNote, ListenerPipe, State
from collector.run.runtime import Subprocess
from collector.web.health import Health

SILENT = Event(
    __name__, "error", "listener_silent", "a listener's process says nothing any more; it is ended and started again",
    key="process", fields="silent_s",
)  # fmt: skip

Kind = Literal["pages", "enrolment"]

TICK_S = 0.5  # between two notes to each listener
SILENT_S = 60.0


class ListenerProcess(Subprocess):
    """It answers at `place`, which stays bound while one that ended is started again. `receive` gets what it notes, in
    a thread."""

    def __init__(
        self,
        kind: Kind,
        words: Sequence[str],
        place: socket.socket,
        receive: Callable[[ListenerNote], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        # It holds nothing that a kill could harm, and the address is to be free at once.
        super().__init__(kind, ["listener", kind, *words], signal.SIGKILL)
        self._place, self._receive, self._now_s = place, receive, now_s
        self._pipe: ListenerPipe | None = None
        self._heard_s = 0.0

    def start(self) -> None:
        self._close_pipe()
        ours, theirs = socket.socketpair()
        with theirs:
            passed = (self._place.fileno(), theirs.fileno())
            self._spawn(["--sockets", *map(str, passed)], passed)
        self._heard_s = self._now_s()
        self._pipe = ListenerPipe(self.name, ours, self._take)
        self._pipe.start()

    def send(self, note: ListenerNote) -> None:
        """Any thread."""
        if self._pipe is not None:
            self._pipe.send(note)

    def reload(self) -> None:
        """It shows what its certificate's files hold now."""
        self.signal(signal.SIGHUP)

    def tend(self) -> None:
        silent_s = self._now_s() - self._heard_s
        if self._process is not None and self._process.poll() is None and silent_s > SILENT_S:
            SILENT.log(process=self.name, silent_s=round(silent_s))
            self._process.kill()
            self._process.wait()
        super().tend()

    def stop(self) -> None:
        super().stop()
        self._close_pipe()

    def _take(self, note: ListenerNote) -> None:
        self._heard_s = self._now_s()
        self._receive(note)

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            self._pipe.close()


class Relay:
    """Tells listeners what moved, and how the collector is. `publish` never waits; `tick` is a periodic task's."""

    def __init__(self, health: Health, most: int = 20_000) -> None:
        self._health, self._most = health, most
        self._lock = threading.Lock()
        self._codes: set[str] = set()
        self.listeners: list[ListenerProcess] = []

    def publish(self, codes: Collection[str]) -> None:
        """These centers have news. Any thread."""
        with self._lock:
            self._codes.update(codes)

    def tick(self) -> None:
        with self._lock:
            codes, self._codes = sorted(self._codes), set()
        watched = [State(item.part, item.within_s, round(item.age_s(), 1)) for item in self._health.parts]
        missing = list(self._health.missing())
        for part in _parts(codes, self._most):
            note = ListenerNote(centers=part, watched=watched, missing=missing)
            for listener in self.listeners:
                listener.send(note)


def _parts(codes: Sequence[str], most: int) -> Iterator[list[str]]:
    """At least one, so that a listener hears of the collector's health when nothing moves."""
    for start in range(0, max(1, len(codes)), most):
        yield list(codes[start : start + most])
