"""The store that the settings name, and the folder it lies in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agent.common.errors import describe
from collector.config import Settings
from collector.store import Store, StoreError


@contextmanager
def opened(settings: Settings) -> Iterator[Store]:
    """The store of these settings, its folder made when it is missing. Raises StoreError."""
    make_data_dir(settings)
    store = Store.open(settings.database_url)
    try:
        yield store
    finally:
        store.close()


def make_data_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{settings.data_dir}: cannot be made ({describe(error)}); set [collector] data_dir") from None
