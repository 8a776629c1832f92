"""The proof that the collector's database went back, beside the spool: it must outlive a restart of this program."""

from __future__ import annotations

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
