"""Messages in groups: one commit for each, then receipts, then PUBACKs; and what is dropped of senders that flood."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.common.logs import Event
from agent.common.threads import join_started
from collector.common.messages import Message
from collector.ingest.backpressure import Backpressure, Shares
from collector.ingest.transaction import Ingest, Taken
from collector.store import UNAVAILABLE

DATABASE_AWAY = Event(
    __name__, "error", "ingest_database_away", "the database does not answer; nothing is receipted meanwhile",
    fields="error",
)  # fmt: skip
GROUP_REFUSED = Event(
    __name__, "error", "ingest_group_refused", "messages cannot be taken at all; they are not receipted",
    fields="messages error", has_trace=True,
)  # fmt: skip
FINDING = Event(
    __name__, "warning", "integrity_finding", "something is wrong with what a gateway sent", key="code device",
    fields="center detail",
)  # fmt: skip
UNSERVED = Event(
    __name__, "warning", "test_requests_unserved", "requests for a test came too late, or no server could take them",
    key="code", fields="requests",
)  # fmt: skip
FLOODED = Event(
    __name__, "warning", "gateway_floods", "a gateway sends faster than it is taken; what is more than its share is "
    "dropped, which it sends again", key="topic",
)  # fmt: skip

GROUP = 200  # messages in one commit at most
GATHER_S = 0.2  # and no message waits longer than this for others
QUIET_S = 0.01  # a group is closed when nothing more came for this long: few may be in flight at a time
QUEUE = 2_000  # messages in memory; past that the broker waits
UNSERVED_CODES = ("ask_late", "ask_no_server")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
DATABASE_PAUSE_S = 4.0  # a new leader is found soon; a few workers ask, not thousands of gateways


@dataclass(frozen=True)
class Unacknowledged:
    """A message in hand and the way to acknowledge it."""

    message: Message
    acknowledge: Callable[[], None]
    came_s: float = field(default_factory=time.monotonic)


class IngestWorker:
    """Takes deliveries in groups, in a thread of its own.

    `publish` sends receipts, `notify` gets the centers whose state moved, `pause(True)` requests that no more be
    delivered (the database is away), `pause(False)` that all be as before; `idle` is called when nothing is in hand.
    """

    def __init__(
        self,
        ingest: Ingest,
        publish: Callable[[Sequence[Message]], None],
        notify: Callable[[set[str]], None],
        now_ms: Callable[[], int],
        pause: Callable[[bool], None] = lambda _paused: None,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._ingest = ingest
        self._idle = idle
        self._publish_receipts = publish
        self._notify = notify
        self._now_ms = now_ms
        self._pause = pause
        self._backpressure, self._shares = Backpressure(), Shares()
        self._queue: queue.Queue[Unacknowledged] = queue.Queue(QUEUE)
        self._stopped = threading.Event()
        self._away = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._begun_s: float | None = None
        self.readings = 0
        self.committed_ms: int | None = None  # when messages were last committed
        self.on_flood: Callable[[], None] = lambda: None  # called in the broker's thread: `floods` has news

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after the group in hand; what waits in memory was never acknowledged and will be sent again."""
        self._stopped.set()
        join_started(self._thread)

    def offer(self, delivery: Unacknowledged) -> bool:
        """Waits while memory is full, so that the broker does; False when the delivery is dropped unacknowledged. One
        of a sender that floods is dropped, too, but acknowledged: the broker would wait for that and hold up all."""
        if not self._shares.admits(delivery.message.topic, time.monotonic()):
            delivery.acknowledge()
            if self._shares.has_news():
                FLOODED.log(topic=delivery.message.topic)
                self.on_flood()
            return False
        while not self._stopped.is_set() and not self._away.is_set():
            try:
                self._queue.put(delivery, timeout=0.1)
                return True
            except queue.Full:
                continue
        self._shares.taken([delivery.message.topic])
        return False

    def floods(self) -> frozenset[str]:
        """The topics of those who flooded since the last call. Any thread."""
        return self._shares.floods()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def age_s(self) -> float:
        """Seconds since the group in hand was begun, which is not committed yet; 0 without one. Any thread."""
        begun_s = self._begun_s
        return 0.0 if begun_s is None else time.monotonic() - begun_s

    def _run(self) -> None:
        while not self._stopped.is_set():
            group = self._gather()
            if not group:
                self._idle()
            self._begun_s = time.monotonic() if group else None
            taken = self._taken(group) if group else None
            self._begun_s = None
            if taken is not None:
                self._answer(taken)
                self.readings += taken.counts["readings"]
                self.committed_ms = self._now_ms()
            if not self._stopped.is_set():
                for delivery in group:
                    delivery.acknowledge()

    def _gather(self) -> list[Unacknowledged]:
        group: list[Unacknowledged] = []
        until_s = time.monotonic() + GATHER_S
        while len(group) < GROUP and (left_s := until_s - time.monotonic()) > 0:
            try:
                group.append(self._queue.get(timeout=min(left_s, QUIET_S) if group else left_s))
            except queue.Empty:
                break
        self._shares.taken(delivery.message.topic for delivery in group)
        return group

    def _taken(self, group: Sequence[Unacknowledged]) -> Taken | None:
        """Tries until it is committed; None when stopped before, or when these messages can never be: the gateways
        have no receipt for them and keep them."""
        messages = [delivery.message for delivery in group]
        self._backpressure.heard({message.topic for message in messages}, time.monotonic())
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                began_s = time.monotonic()
                taken = self._ingest.take(
                    messages, self._now_ms(), self._backpressure.pace_ms(began_s - group[0].came_s)
                )
                self._backpressure.took(len(group), time.monotonic() - began_s)
            except UNAVAILABLE as error:
                DATABASE_AWAY.log(error=error)
                self._set_away(away=True)
            except Exception as error:
                GROUP_REFUSED.log(messages=len(group), error=error)
                return None
            else:
                self._set_away(away=False)
                return taken
            if self._stopped.wait(random.uniform(0, pause_s)):  # noqa: S311 - spreads load, guards nothing
                return None
            pause_s = min(pause_s * 2, DATABASE_PAUSE_S)

    def _set_away(self, *, away: bool) -> None:
        if away != self._away.is_set():
            (self._away.set if away else self._away.clear)()
            self._pause(away)

    def _answer(self, taken: Taken) -> None:
        self._publish_receipts(taken.receipts)
        for code in UNSERVED_CODES:
            if number := taken.counts[code]:
                UNSERVED.log(code=code, requests=number)
        for finding in taken.findings:
            FINDING.log(code=finding.finding, center=finding.center, device=finding.device, detail=finding.detail)
        if taken.touched:
            self._notify(taken.touched)
