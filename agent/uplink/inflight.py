"""Batches in flight: sent to the collector, not yet receipted. `agent.uplink.window` decides by them.

No I/O; times are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.spool.record import Ident
from agent.uplink.window import Flow, InFlight, Send

Key = tuple[str, int, int]  # spool, first and last number


class InFlightBatches:
    """Over several sessions: `begin` forgets the batches in flight, not how often each group was sent."""

    def __init__(self, flow: Flow | None = None) -> None:
        self._first = flow or Flow()
        self.flow = self._first
        self._by_key: dict[Key, InFlight] = {}
        self._tries: dict[Ident, int] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[InFlight]:
        return iter(self._by_key.values())

    def begin(self) -> None:
        """A new session: nothing is in flight, and the time that receipts take is unknown."""
        self._by_key.clear()
        self.flow = self._first

    def idents(self) -> set[Ident]:
        """The groups in flight."""
        return {group.ident for batch in self for group in batch.groups}

    def sent(self, step: Send, now_s: float) -> InFlight:
        tries = self._tries.get(step.groups[0].ident, 0)
        live, due_s = step.reason != "backlog", now_s + self.flow.wait_s(tries)
        batch = InFlight(groups=step.groups, live=live, sent_s=now_s, due_s=due_s, tries=tries)
        self._by_key[batch.key] = batch
        return batch

    def overdue(self, now_s: float) -> list[InFlight]:
        """Those that waited long enough; they may be offered again, perhaps cut otherwise."""
        overdue = [batch for batch in self if now_s >= batch.due_s]
        for batch in overdue:
            del self._by_key[batch.key]
            self.failed(batch)
        return overdue

    def receipted(self, key: Key, pace_s: float, now_s: float) -> InFlight | None:
        """The batch of this receipt, which requests such a pause; None when it is no longer in flight."""
        batch = self._by_key.pop(key, None)
        self.flow = self.flow.after(batch, pace_s, now_s)
        return batch

    def failed(self, batch: InFlight) -> None:
        """It was sent in vain: the next wait for its groups is longer."""
        for group in batch.groups:
            self._tries[group.ident] = batch.tries + 1

    def done(self, batch: InFlight) -> None:
        for group in batch.groups:
            self._tries.pop(group.ident, None)
