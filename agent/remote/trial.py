"""The collector's settings on this machine, in one file that is replaced whole: what is proven, what is on trial, and
what failed. A power cut leaves the file of before or of after, and either is a state to go on from.

A document that is taken is on trial: the agent starts with it. A receipt for readings measured with it makes it proven;
without one in ten minutes, or after a few starts that brought none, the agent goes back to what was proven before.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from agent import wire
from agent.common.errors import describe
from agent.common.files import write_atomically
from agent.common.logs import Event
from agent.config import AgentSettings
from agent.config_file import SettingsError
from agent.identity import IdentityError, make_folder
from agent.remote.settings import merged, values_of

TAKEN = Event(
    __name__, "info", "remote_settings_taken", "settings of the collector are on trial from here on", key="digest"
)
PROVEN = Event(__name__, "info", "remote_settings_proven", "the collector is reached with its settings; they stay",
    key="digest",
)  # fmt: skip
TAKEN_BACK = Event(
    __name__, "warning", "remote_settings_failed", "settings of the collector failed; those of before hold again",
    key="digest", fields="code detail",
)  # fmt: skip
REFUSED = Event(
    __name__,
    "warning",
    "remote_settings_refused",
    "a document of settings is not taken",
    key="digest",
    fields="code detail",
)
UNREADABLE = Event(
    __name__, "error", "remote_settings_unreadable", "the file of the collector's settings cannot be read or written; "
    "the machine's own hold", fields="file error",
)  # fmt: skip

FILE = "remote.json"
MAX_FILE_BYTES = 64 * 1024
MAX_STARTS = 3  # on trial; a power cut or a crash ends each
CLOCK_MS = 5 * 60_000  # a document issued later than this from now: the collector's clock was wrong then


class SettingsRefused(Exception):
    """A document that is not taken: `code` is the reason in one word."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code, self.detail = code, detail


class RemoteState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The file. ``starts`` counts those of the agent on this trial, ``newest_ms`` is when the newest document taken was
    issued, ``failed`` the digest of the last one that failed, and ``why`` the code and what was wrong."""

    proven: wire.SettingsDocument | None = None
    trial: wire.SettingsDocument | None = None
    starts: int = 0
    newest_ms: int = 0
    failed: str = ""
    why: str = ""

    @property
    def in_force(self) -> wire.SettingsDocument | None:
        return self.trial or self.proven


class RemoteSettings:
    """For one process at a time. A document that cannot be written down is not taken; all else goes on in memory."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE
        self.state = read(self._path)

    def start(self, base: AgentSettings) -> AgentSettings:
        """The settings with which the agent starts now; a trial that brought no receipt at several starts ends."""
        if self.state.trial is not None:
            starts = self.state.starts + 1
            if starts > MAX_STARTS:
                self.take_back("starts", f"{MAX_STARTS} starts without a receipt")
            else:
                self._keep(msgspec.structs.replace(self.state, starts=starts))
        while (document := self.state.in_force) is not None:
            try:
                return merged(base, document.values)
            except SettingsError as error:  # the machine's file, or the program, has changed since they were taken
                self.take_back("invalid", error.mistakes[0])
        return base

    def accept(self, document: wire.SettingsDocument, base: AgentSettings, now_ms: int) -> bool:
        """Whether the agent is to start again, with this document on trial. ``now_ms`` is the collector's time. Raises
        SettingsRefused, and OSError or IdentityError where nothing can be written."""
        state = self.state
        if document.issued_ms < state.newest_ms <= now_ms + CLOCK_MS:
            raise self._refused(document, SettingsRefused("stale", f"issued {state.newest_ms - document.issued_ms} ms "
                                                          "before the newest one"))  # fmt: skip
        if self.is_in_force(document.digest):
            return False
        try:
            merged(base, document.values)
        except SettingsError as error:
            refusal = self._refused(document, SettingsRefused("invalid", error.mistakes[0]))
            self._keep(msgspec.structs.replace(state, newest_ms=document.issued_ms, **_failure(document, refusal)))
            raise refusal from None
        changes = {"newest_ms": document.issued_ms, "trial": document, "starts": 0, "failed": "", "why": ""}
        self._write(msgspec.structs.replace(state, **changes))
        TAKEN.log(digest=document.digest)
        return True

    def is_in_force(self, digest: str) -> bool:
        return digest == (self.state.in_force.digest if self.state.in_force else "")

    def prove(self) -> None:
        """A receipt came for what was measured with the document on trial."""
        trial = self.state.trial
        if trial is not None:
            proven = trial if trial.values else None
            self._keep(msgspec.structs.replace(self.state, proven=proven, trial=None, starts=0))
            PROVEN.log(digest=trial.digest)

    def take_back(self, code: str, detail: str) -> None:
        """The document in force has failed."""
        document = self.state.in_force
        if document is None:
            return
        proven = self.state.proven if self.state.trial is not None else None
        failure = _failure(document, SettingsRefused(code, detail))
        self._keep(msgspec.structs.replace(self.state, proven=proven, trial=None, starts=0, **failure))
        TAKEN_BACK.log(digest=document.digest, code=code, detail=detail)

    def report(self) -> wire.SettingsReport:
        state, document = self.state, self.state.in_force
        return wire.SettingsReport(
            digest=document.digest if document else "",
            state="trial" if state.trial is not None else "applied",
            failed=state.failed,
            why=state.why,
        )

    def _refused(self, document: wire.SettingsDocument, refusal: SettingsRefused) -> SettingsRefused:
        REFUSED.log(digest=document.digest, code=refusal.code, detail=refusal.detail)
        return refusal

    def _keep(self, state: RemoteState) -> None:
        try:
            self._write(state)
        except (OSError, IdentityError) as error:
            UNREADABLE.log(file=self._path, error=describe(error))
            self.state = state

    def _write(self, state: RemoteState) -> None:
        make_folder(self._path.parent)
        write_atomically(self._path, msgspec.json.encode(state))
        self.state = state


def read(path: Path) -> RemoteState:
    """What the file says; nothing where it cannot be read: then the machine's own settings hold, until the collector
    sends its own again."""
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_FILE_BYTES:
            raise ValueError(f"{len(raw)} bytes are over the limit of {MAX_FILE_BYTES}")
        return msgspec.json.decode(raw, type=RemoteState)
    except FileNotFoundError:
        return RemoteState()
    except (OSError, ValueError, RecursionError) as error:
        UNREADABLE.log(file=path, error=describe(error))
        return RemoteState()


def in_force(base: AgentSettings) -> AgentSettings:
    """The settings with which the agent runs, for commands that only look. Raises nothing: where the collector's do not
    fit, the machine's own are returned, as the agent would."""
    try:
        return merged(base, values_of(read(base.state_dir / FILE).in_force))
    except SettingsError:
        return base


def _failure(document: wire.SettingsDocument, refusal: SettingsRefused) -> dict[str, str]:
    return {"failed": document.digest, "why": str(refusal)[:200]}
