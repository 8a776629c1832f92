"""Child processes: how one is ended, and when one that ended by itself is started again."""

from __future__ import annotations

import subprocess

PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # before it is started again, for as long as it does not last
LASTS_S = 60.0  # then the first of these pauses holds again


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str] | None, within_s: float) -> None:
    """Returns when it has ended: asked to at first, killed after `within_s`."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Restarts:
    """When a process that ended is started again: later each time, while it does not last. Pure; `now_s` is
    monotonic."""

    def __init__(self) -> None:
        self._started_s, self._ended_s = 0.0, 0.0
        self._failures = 0

    @property
    def pause_s(self) -> float:
        return PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]

    def record_start(self, now_s: float) -> None:
        if self._ended_s:
            self._failures, self._ended_s = self._failures + 1, 0.0
        self._started_s = now_s

    def record_end(self, now_s: float) -> bool:
        """Whether this is the first word of it."""
        if self._ended_s:
            return False
        self._failures = 0 if now_s - self._started_s > LASTS_S else self._failures
        self._ended_s = now_s
        return True

    def is_due(self, now_s: float) -> bool:
        return bool(self._ended_s) and now_s - self._ended_s >= self.pause_s
