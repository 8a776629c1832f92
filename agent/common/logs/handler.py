"""Lines on their way to a stream, few of the same event a minute."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TextIO

from agent.common.logs.line import Line, line_of
from agent.common.logs.repeats import WINDOW_S, Counted, Repeats


class LineHandler(logging.Handler):
    """Any thread. What was not written is told as a count, when its minute is over and when the program ends."""

    def __init__(
        self, stream: TextIO, render: Callable[[Line], str], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._stream, self._render, self._now_s = stream, render, now_s
        self._repeats: Repeats[Line] = Repeats()
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """The caller holds this handler's lock."""
        with suppress(Exception):  # a log that cannot be written has nobody to be told, and must not end the program
            line, now_s = line_of(record), self._now_s()
            self._write_counted(now_s)
            if self._repeats.admit(line.group, line.key, line, now_s):
                self._write(line)
            elif self._timer is None:
                self._wait()

    def close(self) -> None:
        self.acquire()
        try:
            if self._timer is not None:
                self._timer.cancel()
            with suppress(Exception):
                self._write_counted(math.inf)
        finally:
            self.release()
        super().close()

    def _wait(self) -> None:
        """A thread only while something is counted: nobody else would tell the count if nothing more happened."""
        self._timer = threading.Timer(WINDOW_S, self._minute_is_over)
        self._timer.daemon = True
        self._timer.start()

    def _minute_is_over(self) -> None:
        self.acquire()
        try:
            self._timer = None
            with suppress(Exception):
                self._write_counted(self._now_s())
            if self._repeats.is_counting:
                self._wait()
        finally:
            self.release()

    def _write_counted(self, now_s: float) -> None:
        for counted in self._repeats.due(now_s):
            self._write(_newest(counted))

    def _write(self, line: Line) -> None:
        self._stream.write(self._render(line) + "\n")
        self._stream.flush()


def _newest(counted: Counted[Line]) -> Line:
    """The newest line stands for all that were counted with it. Of several keys it names none."""
    line = counted.item
    keys = [name for name in line.event.key.split() if name in line.values] if counted.is_mixed else []
    return replace(line, values={**line.values, **dict.fromkeys(keys, "various")}, repeated=counted.count - 1)
