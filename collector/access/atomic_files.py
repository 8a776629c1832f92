"""Small files that must survive a power cut: keys, tokens, certificates. Old or new, never half, never empty."""

from __future__ import annotations

import os
from pathlib import Path

from agent.common.files import sync_folder

OWNER_ONLY = 0o600


def keep_once(path: Path, content: bytes) -> bytes:
    """Writes a file that is made only once and returns what it then holds: of two starts at once both use one.

    Raises OSError.
    """
    draft = _draft(path, content, OWNER_ONLY)
    try:
        os.link(draft, path)
    except FileExistsError:
        return path.read_bytes()
    finally:
        draft.unlink()
        sync_folder(path.parent)
    return content


def put(path: Path, content: bytes, mode: int = OWNER_ONLY) -> None:
    """Writes a file, or replaces it. Raises OSError."""
    _draft(path, content, mode).replace(path)
    sync_folder(path.parent)


def _draft(path: Path, content: bytes, mode: int) -> Path:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # of a process that had this number and was killed
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
