"""Which program runs: the installed one, or a release beside it. Two may lie there: the proven one, and one on trial.

A release is one file, a zip of Python modules. One on trial is started a few times at most; it is proven when what it
was started for works, and else the program from before it runs again, by itself. All of it is one small file that is
replaced whole, so that a power cut leaves the state of before or of after; what runs is decided at each start by the
installed program, which no release replaces. Only the standard library is needed: seats use it too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent.common.errors import describe
from agent.common.files import sync_folder, write_atomically
from agent.common.logs import Event
from agent.common.releases.version import version_key

UNREADABLE = Event(
    __name__, "error", "releases_unreadable", "the file of releases cannot be read or written; the installed program "
    "runs", fields="file error",
)  # fmt: skip
TAKEN_BACK = Event(
    __name__, "warning", "release_failed", "a release failed; the program from before it runs again", key="version",
    fields="why",
)  # fmt: skip
PROVEN = Event(__name__, "info", "release_proven", "a release works and stays", key="version")
TAKEN = Event(__name__, "info", "release_taken", "a release is on trial from the next start on", key="version")

FOLDER = "releases"  # below the state folder
FILE = "releases.json"
MAX_FILE_BYTES = 64 * 1024
MAX_STARTS = 3  # on trial; a crash or a power cut ends each
MAX_TRIALS = 3  # of a release that got no receipt: the line may have been down
TRIAL_S = 600.0


@dataclass(frozen=True)
class Release:
    """`digest` is the SHA-256 of its file, in hex."""

    version: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class ReleaseState:
    """`starts` counts those of the trial, `began_s` is when its first one was, on the clock of the boot `boot`.
    `trials` counts those of the release that failed last, and `why` is the reason in one word."""

    proven: Release | None = None
    trial: Release | None = None
    starts: int = 0
    boot: str = ""
    began_s: float = 0.0
    failed: Release | None = None
    trials: int = 0
    why: str = ""

    @property
    def in_force(self) -> Release | None:
        return self.trial or self.proven


# ---------------------------------------------------------------- decisions: pure


def started(state: ReleaseState, installed: str, boot: str, now_s: float) -> ReleaseState:
    """The state with which a start goes on; `installed` is the version of the installed program, which runs where no
    release is newer."""
    state = _newer(state, version_key(installed))
    if state.trial is None:
        return state
    if state.starts >= MAX_STARTS:
        return taken_back(state, "starts")
    if state.boot == boot and now_s - state.began_s >= TRIAL_S:
        return taken_back(state, "no_receipt")
    if state.boot != boot:
        state = replace(state, boot=boot, began_s=now_s)
    return replace(state, starts=state.starts + 1)


def _newer(state: ReleaseState, installed: tuple[int, ...]) -> ReleaseState:
    proven, trial = (
        release if release is not None and version_key(release.version) > installed else None
        for release in (state.proven, state.trial)
    )
    return replace(state, proven=proven, trial=trial)


def may_try(state: ReleaseState, release: Release) -> bool:
    """Whether a release that failed here may be tried once more."""
    if release in (state.proven, state.trial):
        return False
    return release != state.failed or (state.why == "no_receipt" and state.trials < MAX_TRIALS)


def accepted(state: ReleaseState, release: Release) -> ReleaseState:
    return replace(state, trial=release, starts=0, boot="", began_s=0.0)


def proved(state: ReleaseState) -> ReleaseState:
    return ReleaseState(proven=state.trial or state.proven)


def taken_back(state: ReleaseState, why: str) -> ReleaseState:
    """The release in force has failed."""
    failed = state.in_force
    trials = state.trials + 1 if failed == state.failed else 1
    proven = state.proven if state.trial is not None else None
    return ReleaseState(proven=proven, failed=failed, trials=trials, why=why)


# ---------------------------------------------------------------- the folder


class ReleaseFolder:
    """The files of releases and the state, for one process at a time. What cannot be written down is not begun."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = read(folder / FILE)

    def start(self, installed: str, boot: str, now_s: float) -> Path | None:
        """The file of the release that is to run now; None: the installed program. Raises nothing."""
        try:
            self._keep(started(self.state, installed, boot, now_s))
            while (release := self.state.in_force) is not None:
                if self._is_whole(release):
                    return self._file(release)
                self._keep(taken_back(self.state, "damaged"))
        except OSError as error:  # a trial that cannot be counted would never end
            UNREADABLE.log(file=self.folder / FILE, error=error)
            proven = self.state.proven
            return self._file(proven) if proven is not None and self._is_whole(proven) else None
        return None

    def may_try(self, release: Release) -> bool:
        return may_try(self.state, release)

    def accept(self, version: str, content: bytes) -> bool:
        """Puts a release on trial, from the next start on; False where it failed here before. Raises OSError."""
        version_key(version)
        release = Release(version, hashlib.sha256(content).hexdigest())
        if not may_try(self.state, release):
            return False
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True)
            sync_folder(self.folder.parent)
        write_atomically(self._file(release), content)
        self._keep(accepted(self.state, release))
        TAKEN.log(version=version)
        return True

    def prove(self) -> None:
        """Raises OSError."""
        if self.state.trial is not None:
            PROVEN.log(version=self.state.trial.version)
            self._keep(proved(self.state))

    def take_back(self, why: str) -> None:
        """Raises OSError."""
        if self.state.in_force is not None:
            self._keep(taken_back(self.state, why))

    def _keep(self, state: ReleaseState) -> None:
        if state == self.state:
            return
        if self.folder.is_dir():
            write_atomically(self.folder / FILE, json.dumps(asdict(state)).encode())
        if state.failed not in (None, self.state.failed):
            TAKEN_BACK.log(version=state.failed.version if state.failed else "", why=state.why)
        self.state = state
        self._clear()

    def _clear(self) -> None:
        """Files of releases that are none any more."""
        named = {f"{release.digest}.zip" for release in (self.state.proven, self.state.trial) if release is not None}
        for path in self.folder.glob("*.zip*"):
            if path.name not in named:
                path.unlink(missing_ok=True)

    def _file(self, release: Release) -> Path:
        return self.folder / f"{release.digest}.zip"

    @property
    def handed_on(self) -> tuple[Release, Path] | None:
        """The proven release and its file, for others, who compare it with its digest."""
        proven = self.state.proven
        return (proven, self._file(proven)) if proven is not None else None

    def _is_whole(self, release: Release) -> bool:
        try:
            return hashlib.sha256(self._file(release).read_bytes()).hexdigest() == release.digest
        except OSError:
            return False


def read(path: Path) -> ReleaseState:
    """What the file says; the installed program alone where it cannot be read."""
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_FILE_BYTES:
            raise ValueError(f"{len(raw)} bytes are over the limit of {MAX_FILE_BYTES}")
        return _state(json.loads(raw))
    except FileNotFoundError:
        return ReleaseState()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        UNREADABLE.log(file=path, error=describe(error))
        return ReleaseState()


def _state(table: Mapping[str, Any]) -> ReleaseState:
    """Raises ValueError, TypeError, KeyError or AttributeError."""
    return ReleaseState(
        proven=_release(table["proven"]), trial=_release(table["trial"]), starts=int(table["starts"]),
        boot=str(table["boot"]), began_s=float(table["began_s"]), failed=_release(table["failed"]),
        trials=int(table["trials"]), why=str(table["why"]),
    )  # fmt: skip


def _release(table: Mapping[str, Any] | None) -> Release | None:
    if table is None:
        return None
    version, digest = str(table["version"]), str(table["digest"])
    version_key(version)
    if re.fullmatch("[0-9a-f]{64}", digest) is None:
        raise ValueError(f"digest {digest[:80]!r} has not 64 hex digits")
    return Release(version, digest)
