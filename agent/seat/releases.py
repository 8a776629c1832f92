"""Newer programs for this seat. Its gateway hands on the release that it runs itself and has proven, under the key that
only the two of them have; the seat tries it as a gateway does, and goes back by itself if it cannot report with it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from agent.common.errors import describe
from agent.common.logs import Event
from agent.common.releases import launch
from agent.common.releases.trial import FOLDER, Release, ReleaseFolder
from agent.common.releases.version import version_key

NOT_TAKEN = Event(
    "nabz-seat", "warning", "release_untaken", "the gateway's release cannot be taken; it is tried again later",
    key="version", fields="error",
)  # fmt: skip
MAX_BYTES = 8 * 1024 * 1024
RETRY_S = 3600.0

Fetch = Callable[[str], bytes]  # by digest; raises OSError


class SeatReleases:
    """`ended` is set when this process is to start again, with another program."""

    def __init__(self, state_dir: Path, installed: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._folder = ReleaseFolder(state_dir / FOLDER)
        self._installed, self._now_s, self._next_s = installed, now_s, float("-inf")
        self.ended = False

    def heard(self, offered: str, fetch: Fetch) -> None:
        """After a snapshot that the gateway took: what runs here works. `offered` is its release as VERSION DIGEST;
        empty: none. Raises nothing."""
        try:
            self._prove()
            release = _release(offered)
            if release is not None and self._now_s() >= self._next_s and self._wants(release):
                self._next_s = self._now_s() + RETRY_S
                self._take(release, fetch)
        except (OSError, ValueError) as error:
            NOT_TAKEN.log(version=offered.partition(" ")[0], error=describe(error))

    def _prove(self) -> None:
        trial = self._folder.state.trial
        if trial is not None and trial.digest == launch.running():
            self._folder.prove()
            launch.disarm()

    def _wants(self, release: Release) -> bool:
        return version_key(release.version) > version_key(self._installed) and self._folder.may_try(release)

    def _take(self, release: Release, fetch: Fetch) -> None:
        program = fetch(release.digest)
        if hashlib.sha256(program).hexdigest() != release.digest:
            raise ValueError("what came is not what the gateway named")
        self.ended = self._folder.accept(release.version, program)


def _release(offered: str) -> Release | None:
    """Raises ValueError for a version that is none."""
    version, _, digest = offered.partition(" ")
    if not digest:
        return None
    version_key(version)
    return Release(version, digest)
