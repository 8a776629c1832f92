"""Newer programs for this seat. Its gateway hands on the release that it runs itself and has proven, under the key that
only the two of them have, and shows that the signers signed it. The seat verifies that, tries the release as a gateway
does, and goes back by itself if it cannot report with it.

Whom a seat trusts is the root that an administrator gave it, or else the first that its gateway showed; then those
whom that root names."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from agent.common.errors import describe
from agent.common.files import write_atomically
from agent.common.logs import Event
from agent.common.releases import launch, signers
from agent.common.releases.signers import TrustedSigners
from agent.common.releases.trial import FOLDER, Release, ReleaseFolder
from agent.common.releases.version import version_key

NOT_TAKEN = Event(
    "nabz-seat", "warning", "release_untaken", "the gateway's release cannot be taken; it is tried again later",
    key="version", fields="error",
)  # fmt: skip
MAX_BYTES = 8 * 1024 * 1024
RETRY_S = 3600.0
SIGNERS_FILE = "signers.json"
ROOT_FILE = Path("/etc/nabz/update-root.json")
PROGRAM, SIGNED = "release", "signed-list"

Fetch = Callable[[str, str], bytes]  # PROGRAM or SIGNED of a release, by its digest; raises OSError


class SeatReleases:
    """`ended` is set when this process is to start again, with another program."""

    def __init__(
        self, state_dir: Path, installed: str, root: Path = ROOT_FILE, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = ReleaseFolder(state_dir / FOLDER)
        self._known, self._root = state_dir / SIGNERS_FILE, root
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
        shown = signers.parse(fetch(SIGNED, release.digest))
        trusted = signers.verify(shown, known_signers(self._known, self._root), release.version, release.digest)
        program = fetch(PROGRAM, release.digest)
        if hashlib.sha256(program).hexdigest() != release.digest:
            raise ValueError("what came is not what the signers signed")
        table = {"root": trusted.root.decode(), "targets": trusted.targets}
        write_atomically(self._known, json.dumps(table).encode())
        self.ended = self._folder.accept(release.version, program)


def known_signers(file: Path, root: Path) -> TrustedSigners | None:
    """Those of the last release; at first the administrator's `root`; None where there is neither. Raises OSError, and
    ValueError for a file that is spoilt: whom to trust is not guessed."""
    try:
        table = json.loads(file.read_bytes())
        return TrustedSigners(str(table["root"]).encode(), int(table["targets"]))
    except FileNotFoundError:
        pass
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{file}: is spoilt ({describe(error)}); remove it to begin with the root anew") from None
    try:
        return TrustedSigners(root.read_bytes())
    except FileNotFoundError:
        return None


def _release(offered: str) -> Release | None:
    """Raises ValueError for a version that is none."""
    version, _, digest = offered.partition(" ")
    if not digest:
        return None
    version_key(version)
    return Release(version, digest)
