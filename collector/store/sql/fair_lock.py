"""A lock that threads get in the order in which they asked for it.

`threading.Lock` is given to whoever comes first once it is free: a thread that takes it again and again, as ingest does
under load, keeps the others waiting for many of its transactions instead of one.
"""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """A context manager; not re-entrant. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of the two below
        self._is_held = False
        self._waiting = deque[threading.Lock]()  # one gate a thread, opened by whoever lets go

    def __enter__(self) -> None:
        with self._lock:
            if not self._is_held:
                self._is_held = True
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        gate.acquire()

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()  # still held, by the next one now
            else:
                self._is_held = False
