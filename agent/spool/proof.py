"""The proof that the collector's database went back, beside the spool: it must outlive a restart of this program. So
must the newest receipt, which becomes a proof where the next one says less.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.common.files import write_atomically
from agent.common.logs import Event

UNREADABLE = Event(
    __name__, "warning", "proof_unreadable", "the kept proof of an older database cannot be read; it is left out",
    fields="file error",
)  # fmt: skip
UNSAVED = Event(
    __name__, "warning", "proof_unsaved", "the proof of an older database cannot be written; it is kept in memory",
    key="file", fields="error",
)  # fmt: skip

KEEP_EVERY_S = 3600.0


def load(file: Path | None) -> tuple[str, str]:
    """The proof and the epoch in which it holds; both empty where there is none. Raises nothing."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=tuple[str, str]) if file is not None else ("", "")
    except FileNotFoundError:
        return "", ""
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        UNREADABLE.log(file=file, error=error)
        return "", ""


def save(file: Path | None, proof: str, epoch: str) -> None:
    """Blocks. Without a proof there is no file; a disk that takes nothing costs the proof at the next restart."""
    try:
        if file is not None and proof:
            write_atomically(file, msgspec.json.encode((proof, epoch)))
        elif file is not None:
            file.unlink(missing_ok=True)
    except OSError as error:
        UNSAVED.log(file=file, error=error)


class LastReceipt:
    """The newest sealed receipt, in a file beside the proof's: once an hour and when a session ends, without a sync.
    A power cut may cost it, and then another gateway has the proof."""

    def __init__(self, proof_file: Path | None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._file = None if proof_file is None else proof_file.with_suffix(".receipt")
        self._now_s, self._kept, self._kept_s = now_s, "", -KEEP_EVERY_S

    def read(self) -> bytes:
        """As it came; empty where there is none. Raises nothing."""
        try:
            return b"" if self._file is None else self._file.read_bytes()
        except OSError:
            return b""

    @property
    def is_due(self) -> bool:
        return self._now_s() - self._kept_s >= KEEP_EVERY_S

    def keep(self, sealed: str) -> None:
        """Blocks for a small write. A disk that takes nothing costs the receipt at the next restart."""
        if self._file is None or sealed in ("", self._kept):
            return
        self._kept, self._kept_s = sealed, self._now_s()
        try:
            draft = self._file.with_name(f"{self._file.name}.new")
            draft.write_bytes(sealed.encode())
            draft.replace(self._file)
        except OSError as error:
            UNSAVED.log(file=self._file, error=error)
