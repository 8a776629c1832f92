"""What the collector notes to a listener's process: news for its streams of pages, and how the collector is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from functools import partial

from collector.run.listeners.pipe import ListenerNote
from collector.web.health import Health, Needed, Watched
from collector.web.live import Hub

COLLECTOR = "collector"
WITHIN_S = 30.0  # a collector that notes nothing for so long is late


class CollectorNews:
    """Ages go on from the last note, so that a collector that hangs is seen here."""

    def __init__(self, hub: Hub, health: Health, now_s: Callable[[], float] = time.monotonic) -> None:
        self._hub, self._health, self._now_s = hub, health, now_s
        self.began = threading.Event()  # a first note came

    def take(self, note: ListenerNote) -> None:
        at_s = self._now_s()
        parts = [(item.part, item.within_s, item.age_s) for item in note.watched]
        self._health.watched = [
            Watched(part, within_s, partial(self._age_s, at_s, age_s))
            for part, within_s, age_s in [*parts, (COLLECTOR, WITHIN_S, 0.0)]
        ]
        self._health.needed = [Needed(name, lambda: False) for name in note.missing]
        self._hub.publish(note.centers)
        self.began.set()

    def _age_s(self, at_s: float, age_s: float) -> float:
        return age_s + self._now_s() - at_s


class Forwarding(Hub):
    """Of a process that serves no pages: what came through it is the collector's to publish."""

    def __init__(self, send: Callable[[ListenerNote], None]) -> None:
        super().__init__()
        self._send = send

    def publish(self, codes: Collection[str]) -> None:
        self._send(ListenerNote(centers=list(codes)))
