"""Which way to a broker is tried next: in the order told at enrolment, and first the one that worked last.

Many lines let nothing but the web through: their firewall drops what goes to MQTT's port, or a portal answers there. A
way that fails again and again is left for the next, and the last leads back to the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent.common.logs import Event
from agent.identity import BrokerEndpoint, write_atomically

NEXT = Event(__name__, "warning", "broker_next", "the broker's next address is tried", key="broker")
UNSAVED = Event(
    __name__, "warning", "broker_unsaved", "the broker's address that worked cannot be written; a restart tries all of "
    "them anew", fields="file error",
)  # fmt: skip

TRIES = 3  # failures in a row before the next way is tried; a way that never answers costs minutes and gets one


class Endpoints:
    """``file`` remembers across restarts which way worked; without one that is forgotten."""

    def __init__(self, ways: Sequence[BrokerEndpoint], file: Path | None = None) -> None:
        self._ways = list(ways)
        self._file = file
        self._worked = self._remembered()
        self._at = self._ways.index(self._worked) if self._worked in self._ways else 0
        self._failures = 0

    @property
    def current(self) -> BrokerEndpoint:
        return self._ways[self._at]

    def replace(self, ways: Sequence[BrokerEndpoint]) -> bool:
        """Other ways from now on, at least one; whether the current one is no longer among them."""
        current, self._ways, self._failures = self.current, list(ways), 0
        gone = current not in self._ways
        self._at = 0 if gone else self._ways.index(current)
        return gone

    def failed(self, *, silent: bool) -> None:
        """The current way brought nothing to the collector; ``silent``: it did not even answer."""
        self._failures += 1
        if (silent or self._failures >= TRIES) and len(self._ways) > 1:
            self._at = (self._at + 1) % len(self._ways)
            self._failures = 0
            NEXT.log(broker=told(self.current))

    def worked(self) -> None:
        """The collector answered by the current way."""
        self._failures = 0
        if self._worked == self.current:
            return
        self._worked = self.current
        if self._file is not None:
            try:
                write_atomically(self._file, msgspec.json.encode(self.current))
            except OSError as error:
                UNSAVED.log(file=self._file, error=error)

    def _remembered(self) -> BrokerEndpoint | None:
        try:
            return None if self._file is None else msgspec.json.decode(self._file.read_bytes(), type=BrokerEndpoint)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None


def told(way: BrokerEndpoint) -> str:
    how = [word for word, so in (("TLS", way.tls), ("WebSocket", way.transport == "websockets")) if so]
    return f"{way.host}:{way.port}" + (f" ({', '.join(how)})" if how else "")
