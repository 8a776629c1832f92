"""The transparency log grows while the collector runs: days are closed, leaves numbered, heads signed."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common.logs import Event
from collector.common.config import Settings
from collector.log import days, sequencing
from collector.log.sequencing import LogSigner
from collector.standard import Standards
from collector.store import Store

GREW = Event(__name__, "info", "log_grew", "the transparency log has a new signed head", fields="leaves size")

TICK_S = 30.0


def origin_of(web_url: str) -> str:
    """The log's name: where it is served, without the scheme (C2SP tlog-tiles)."""
    parts = urlsplit(web_url)
    return f"{parts.netloc}{parts.path.rstrip('/')}/log"


class TransparencyLog:
    """`tick` is to be called by one thread."""

    def __init__(
        self, store: Store, settings: Settings, collector_key: Ed25519PrivateKey, standards: Standards,
        now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._store, self._now_ms = store, now_ms
        self._key, self._origin = sequencing.log_key(collector_key), origin_of(settings.web_url)
        self._standards = [(version.id, version.digest) for version in standards.versions]
        self._signer: LogSigner | None = None

    def tick(self) -> None:
        now_ms = self._now_ms()
        if self._signer is None:
            self._signer = sequencing.begin(self._store, self._key, self._origin, now_ms)
            with self._store.keep() as conn:
                sequencing.adopt(conn, self._standards, now_ms)
        days.close_days(self._store, now_ms)
        grown = 0
        while some := sequencing.sequence(self._store, self._signer, now_ms):
            grown += some
        if grown:
            with self._store.read() as conn:
                GREW.log(leaves=grown, size=sequencing.size_of(conn))
