"""The rings of the newest release, once an hour: opened while all is well, held where it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.common.errors import describe
from agent.common.logs import Event
from collector.store import Store

MOVED = Event(__name__, "info", "release_rings_moved", "more rings of a release are open, or it is held", key="version",
    fields="before open",
)  # fmt: skip
HELD = Event(__name__, "error", "release_held", "a release does harm and is held; only a person opens it again",
    key="version", fields="failed crashed silent worse",
)  # fmt: skip
UNDONE = Event(__name__, "error", "release_rings_unjudged", "the rings of releases cannot be looked after: gateways "
    "take the repository for a frozen one after a week", fields="error",
)  # fmt: skip

EVERY_S = 3600.0


class ReleaseRings:
    def __init__(self, store: Store, repository: Path, online_key: Path, now_ms: Callable[[], int]) -> None:
        self._store, self._folder, self._key, self._now_ms = store, repository, online_key, now_ms

    def tick(self) -> None:
        from agent.updates.offers import Pace  # with python-tuf, some 30 MB: only where releases are
        from collector.remote.updates import rings, signers
        from collector.remote.updates.repository import UpdateRepository
        from collector.remote.updates.signers import UpdateError

        try:
            repository, online = UpdateRepository(self._folder), signers.load(self._key)
            release, now_ms = rings.newest(repository.releases()), self._now_ms()
            if release is None:
                repository.publish(online, now_ms)
                return
            pace = repository.paces().get(release.version, Pace())
            with self._store.read() as conn:
                health = rings.judged(conn, release, pace, now_ms)
            done = rings.step(repository, release, online, health, now_ms)
        except (UpdateError, OSError) as error:
            UNDONE.log(error=describe(error))
            return
        if done.now != done.before:
            MOVED.log(version=release.version, before=done.before, open=done.now)
        if health is not None and health.state == "bad" and done.before:
            failed, crashed, silent = len(health.failed), len(health.crashed), len(health.silent)
            HELD.log(version=release.version, failed=failed, crashed=crashed, silent=silent, worse=len(health.worse))
