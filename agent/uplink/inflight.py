"""What is on its way to the collector and not yet receipted: the memory that `agent.uplink.window` decides by.

No I/O; times are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.spool.record import Ident
from agent.uplink.window import Flow, InFlight, Send

Key = tuple[str, int, int]  # spool, first and last number


class InFlightBatches:
    """Of one session after another: `begin` forgets what was on its way, not how often each group was sent."""

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
        """A new session: nothing is on its way, and nobody knows what receipts take."""
        self._by_key.clear()
        self.flow = self._first

    def idents(self) -> set[Ident]:
        """The groups that are on their way."""
        return {group.ident for flight in self for group in flight.groups}

    def sent(self, step: Send, now_s: float) -> InFlight:
        tries = self._tries.get(step.groups[0].ident, 0)
        live, due_s = step.reason != "backlog", now_s + self.flow.wait_s(tries)
        flight = InFlight(groups=step.groups, live=live, sent_s=now_s, due_s=due_s, tries=tries)
        self._by_key[flight.key] = flight
        return flight

    def overdue(self, now_s: float) -> list[InFlight]:
        """Those that waited long enough; they may be offered again, perhaps cut otherwise."""
        found = [flight for flight in self if now_s >= flight.due_s]
        for flight in found:
            del self._by_key[flight.key]
            self.failed(flight)
        return found

    def receipted(self, key: Key, pace_s: float, now_s: float) -> InFlight | None:
        """The flight of this receipt, which asks for such a pause; None when it is no longer awaited."""
        flight = self._by_key.pop(key, None)
        self.flow = self.flow.after(flight, pace_s, now_s)
        return flight

    def failed(self, flight: InFlight) -> None:
        """It was sent in vain: the next wait for its groups is longer."""
        for group in flight.groups:
            self._tries[group.ident] = flight.tries + 1

    def done(self, flight: InFlight) -> None:
        for group in flight.groups:
            self._tries.pop(group.ident, None)
