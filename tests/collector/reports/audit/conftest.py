"""A copy of the month that a module's `before` has played."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store import Store
from tests.collector.empty_stores import empty_store


@pytest.fixture
def store(before: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copy(before, tmp_path / "nabz.db")
    store = empty_store(tmp_path / "nabz.db")
    yield store
    store.close()
