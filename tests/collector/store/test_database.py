"""Nothing is made anew in silence: an empty database beside old keys, or old gateways without their key."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.access.ca import Authority
from collector.access.signing_key import load_or_make
from collector.common.config import CollectorTable, DatabaseSection, Settings
from collector.store import Store, StoreError, schema
from collector.store.database import KEY_FILE, opened

NOW = 1_795_000_000_000
pytestmark = pytest.mark.row(50)


def settings_at(url: str, folder: Path) -> Settings:
    return Settings(collector=CollectorTable(data_dir=folder), database=DatabaseSection(url=url))


def found(settings: Settings, *, is_new: bool = False) -> None:
    """A start, as far as it makes anything."""
    with opened(settings, keys=True, is_new=is_new):
        load_or_make(settings.data_dir)
        Authority(settings.data_dir, NOW)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return settings_at(database_url, tmp_path / "data")


def test_a_first_start_on_an_empty_folder_needs_no_word_and_the_next_one_neither(settings: Settings) -> None:
    found(settings)
    key = (settings.data_dir / KEY_FILE).read_bytes()
    found(settings)
    assert (settings.data_dir / KEY_FILE).read_bytes() == key


def test_a_start_that_was_cut_short_after_its_tables_goes_on(settings: Settings) -> None:
    with opened(settings):
        pass
    found(settings)


def test_an_empty_database_beside_old_keys_is_refused(settings: Settings, tmp_path: Path) -> None:
    found(settings_at(f"sqlite:///{tmp_path / 'lost.db'}", settings.data_dir))
    for words in ({}, {"keys": True}):
        with (
            pytest.raises(StoreError, match=r"is empty, but .*collector\.key .*nabz-collector restore.*--new"),
            opened(settings, **words),
        ):
            pass
    with closing(Store.attach(settings.database_url)) as store, store.read() as conn:
        assert sa.inspect(conn).get_table_names() == []
    found(settings, is_new=True)
    found(settings)


def test_a_database_whose_name_is_mistyped_is_not_made(tmp_path: Path) -> None:
    found(settings_at(f"sqlite:///{tmp_path / 'nabz.db'}", tmp_path))
    with pytest.raises(StoreError, match="check"), opened(settings_at(f"sqlite:///{tmp_path / 'nabs.db'}", tmp_path)):
        pass
    assert not (tmp_path / "nabs.db").exists()


def test_new_keys_beside_an_old_database_are_refused(
    settings: Settings, either_store: Store, gateway: Callable[..., object]
) -> None:
    gateway(either_store)
    with pytest.raises(StoreError, match=r"collector\.key: is missing, but 1 gateways .*restore.*--new"):
        found(settings)
    assert not (settings.data_dir / KEY_FILE).exists()
    with opened(settings):  # what needs no key may look
        pass
    found(settings, is_new=True)
    found(settings)


def test_a_lost_authority_is_refused(settings: Settings, either_store: Store) -> None:
    found(settings)
    row = {"serial": "1", "device": "g0", "key_hash": "", "issued_ms": 1, "expires_ms": 2, "pem": ""}
    with either_store.write() as conn:
        conn.execute(sa.insert(schema.certificates).values(row))
    (settings.data_dir / "ca").rename(settings.data_dir / "elsewhere")
    with pytest.raises(StoreError, match=r"/ca: the certificate authority is missing, but 1 certificates .*--new"):
        found(settings)
    assert not (settings.data_dir / "ca").exists()
    found(settings, is_new=True)
