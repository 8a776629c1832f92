"""The log's newest head is brought to the witnesses that the settings name, so that nobody need remember to."""

from __future__ import annotations

from collections.abc import Sequence

from agent.common.errors import describe
from agent.common.logs import Event
from collector.common import http_client
from collector.common.config import ConfigError, WitnessSection
from collector.log import submitting
from collector.log.notes import NoteError, NoteKey
from collector.store import Store

COSIGNED = Event(
    __name__, "info", "head_cosigned", "a witness cosigned the newest head of the transparency log",
    fields="witness leaves",
)  # fmt: skip
REFUSED = Event(
    __name__, "error", "head_refused", "a witness does not cosign the newest head of the transparency log: see what it "
    "says, and keep its state", key="witness", fields="error",
)  # fmt: skip
UNREACHABLE = Event(
    __name__, "warning", "witness_unreachable", "a witness of the transparency log cannot be reached; it is tried "
    "again in an hour", key="witness", fields="error",
)  # fmt: skip

EVERY_S = 3600.0


class Witnesses:
    """`tick` is to be called by one thread. A witness that fails keeps no other waiting for its head."""

    def __init__(self, store: Store, sections: Sequence[WitnessSection]) -> None:
        """Raises ConfigError."""
        self._store, self._cosigned = store, dict[str, int]()
        try:
            self._witnesses = [(section.url, NoteKey.parse(section.key)) for section in sections]
        except NoteError as error:
            raise ConfigError(f"[[audit.witnesses]] {describe(error)}") from None

    def tick(self) -> None:
        for url, key in self._witnesses:
            try:
                head = submitting.submit(self._store, url, key)
            except NoteError as error:
                REFUSED.log(witness=key.name, error=describe(error))
            except (*http_client.FAILURES, ValueError) as error:
                UNREACHABLE.log(witness=key.name, error=describe(error))
            else:
                if head is not None and self._cosigned.get(url) != head.size:
                    self._cosigned[url] = head.size
                    COSIGNED.log(witness=key.name, leaves=head.size)
