"""Empty SQLite stores for tests, as copies of one: making the tables takes fifty times as long."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from collector.store import Store

_folder = tempfile.TemporaryDirectory(prefix="nabz-empty-")  # for this process


@cache
def _template() -> Path:
    path = Path(_folder.name) / "empty.db"
    Store.open(f"sqlite:///{path}").close()
    return path


def empty_store(path: Path) -> Store:
    """The store in this file, with its tables. All of a process begin with the same epoch."""
    if not path.exists():
        shutil.copy(_template(), path)
    return Store.open(f"sqlite:///{path}")
