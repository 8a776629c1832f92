"""Which broker endpoint is tried next: in the order given at enrolment, and first the one that worked last.

Many lines let nothing but the web through: their firewall drops what goes to MQTT's port, or a portal answers there.
After repeated failures the next endpoint is tried, and after the last the first; at once after one that does not
answer, or that refuses where the next is of another machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from agent.common.files import write_atomically
from agent.common.logs import Event
from agent.identity import BrokerEndpoint

NEXT = Event(__name__, "warning", "broker_next", "the broker's next address is tried", key="broker")
UNSAVED = Event(
    __name__, "warning", "broker_unsaved", "the broker's address that worked cannot be written; a restart tries all of "
    "them anew", fields="file error",
)  # fmt: skip

TRIES = 3  # failures in a row before the next endpoint; one that never answers costs minutes and gets one try
SILENT_AT_END_S = 10.0  # before the kernel gave a session up: its broker is not tried again first


Failure = Literal["silent", "refused", "other"]


def failure_of(error: BaseException, silent_s: float) -> Failure:
    """How an endpoint failed whose session ended so, `silent_s` after its broker's last word: it did not answer in
    time, or its machine says that no broker is there."""
    if isinstance(error, TimeoutError) or silent_s > SILENT_AT_END_S:
        return "silent"
    return "refused" if isinstance(error, ConnectionRefusedError) else "other"


class Endpoints:
    """``file`` keeps across restarts which endpoint worked; without one that is forgotten."""

    def __init__(self, endpoints: Sequence[BrokerEndpoint], file: Path | None = None) -> None:
        self._endpoints = list(endpoints)
        self._file = file
        self._worked = self._load()
        self._index = self._endpoints.index(self._worked) if self._worked in self._endpoints else 0
        self._failures = 0

    @property
    def current(self) -> BrokerEndpoint:
        return self._endpoints[self._index]

    def __len__(self) -> int:
        return len(self._endpoints)

    @property
    def are_several(self) -> bool:
        return len(self) > 1

    def replace(self, endpoints: Sequence[BrokerEndpoint]) -> bool:
        """Replaces the list, which is not empty; returns whether the current endpoint is no longer in it."""
        current, self._endpoints, self._failures = self.current, list(endpoints), 0
        gone = current not in self._endpoints
        self._index = 0 if gone else self._endpoints.index(current)
        return gone

    def failed(self, failure: Failure = "other") -> None:
        """Nothing reached the collector through the current endpoint."""
        self._failures += 1
        following = (self._index + 1) % len(self._endpoints)
        # A machine that refuses may be starting again: its other ports refuse too, another machine may not.
        elsewhere = failure == "refused" and self._endpoints[following].host != self.current.host
        if (failure == "silent" or elsewhere or self._failures >= TRIES) and self.are_several:
            self._index = following
            self._failures = 0
            NEXT.log(broker=format_endpoint(self.current))

    def worked(self) -> None:
        """The collector answered through the current endpoint."""
        self._failures = 0
        if self._worked == self.current:
            return
        self._worked = self.current
        if self._file is not None:
            try:
                write_atomically(self._file, msgspec.json.encode(self.current))
            except OSError as error:
                UNSAVED.log(file=self._file, error=error)

    def _load(self) -> BrokerEndpoint | None:
        try:
            return None if self._file is None else msgspec.json.decode(self._file.read_bytes(), type=BrokerEndpoint)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None


def format_endpoint(endpoint: BrokerEndpoint) -> str:
    options = (("TLS", endpoint.tls), ("WebSocket", endpoint.transport == "websockets"))
    used = [name for name, is_used in options if is_used]
    return f"{endpoint.host}:{endpoint.port}" + (f" ({', '.join(used)})" if used else "")
