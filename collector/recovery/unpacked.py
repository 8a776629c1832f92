"""Folders that a backup is unpacked into, keys and all. A restore that is killed leaves its own behind: whoever holds
the data folder next removes it. Which of them are in use the kernel says (flock(2))."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.common.errors import describe
from collector.store import StoreError

PREFIX = ".nabz-unpacked-"  # whatever has such a name is removed, so nothing of anybody else may


@contextmanager
def unpacking_folder(base: Path) -> Iterator[Path]:
    """A new one in `base`, for as long as the context lasts. Raises StoreError, OSError."""
    remove_left(base)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=base) as name, _locked(Path(name), fcntl.LOCK_SH):
        yield Path(name)


def remove_left(base: Path) -> list[Path]:
    """Those in `base` that no process holds, which are gone now. Raises StoreError."""
    removed = []
    for folder in sorted(base.glob(f"{PREFIX}*")):
        try:
            with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(folder)
        except (BlockingIOError, FileNotFoundError):  # another's, or removed by another
            continue
        except OSError as error:
            raise StoreError(
                f"{folder}: a killed restore left keys there, which cannot be removed ({describe(error)}); remove it"
            ) from None
        removed.append(folder)
    return removed


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    fileno = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fileno, how)
        yield
    finally:
        os.close(fileno)
