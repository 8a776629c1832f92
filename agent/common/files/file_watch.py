"""Files that are moved, replaced, deleted or cut under a running process, which would write to what nobody finds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Inode = tuple[int, int]  # device and number: what a name stands for


class FileWatch:
    """Remembers what each path stood for when it first was there. Those that are `growing` are never smaller than they
    were then."""

    def __init__(self, paths: Iterable[Path] = (), growing: Iterable[Path] = ()) -> None:
        self._known: dict[Path, Inode | None] = {path: inode_of(path) for path in paths}
        self._least = {path: size for path in growing if (size := _size_of(path)) is not None}

    def gone(self) -> Path | None:
        """The first path that no longer stands for what it did."""
        for path, known in self._known.items():
            inode = inode_of(path)
            if known is None:
                self._known[path] = inode
            elif inode != known:
                return path
        return next((path for path, size in self._least.items() if (_size_of(path) or 0) < size), None)


def inode_of(path: Path) -> Inode | None:
    """None when nothing is there, or the folder cannot be looked into."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
