"""Files that are moved, replaced or deleted under a running process, which would go on writing to what nobody finds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Inode = tuple[int, int]  # device and number: what a name stands for


class FileWatch:
    """Remembers what each path stood for when it first was there."""

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._known: dict[Path, Inode | None] = {path: inode_of(path) for path in paths}

    def gone(self) -> Path | None:
        """The first path that no longer stands for what it did."""
        for path, known in self._known.items():
            found = inode_of(path)
            if known is None:
                self._known[path] = found
            elif found != known:
                return path
        return None


def inode_of(path: Path) -> Inode | None:
    """None when nothing is there, or the folder cannot be looked into."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
