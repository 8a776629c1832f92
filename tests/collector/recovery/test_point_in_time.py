"""PostgreSQL's own archive of its log: a database brought back to its last second is noticed as a restore."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.access.signing_key import load_or_make
from collector.common.config import CollectorTable, DatabaseSection, Settings
from collector.recovery import settle
from collector.store import schema
from collector.store.database import opened
from tests.collector.conftest import memory
from tests.collector.store.test_copies import fill
from tests.faults import rig
from tests.faults.databases import Postgres

NOW = 1_795_000_000_000


@pytest.fixture
def place() -> Iterator[Path]:
    """Where PostgreSQL's own user gets to."""
    folder = Path(tempfile.mkdtemp(prefix="nabz-pitr-", dir=memory()))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.row(49)
def test_a_recovery_to_a_point_in_time_is_a_restore(place: Path, tmp_path: Path, gateway) -> None:
    archive = place / "archive"
    archive.mkdir()
    archive.chmod(0o777)
    disk = place / "disk"
    disk.mkdir()
    disk.chmod(0o777)
    logged = "-c archive_mode=on -c wal_level=replica -c archive_timeout=60 -c fsync=off"
    # docs/database.md, "PostgreSQL to a point in time"; a command with spaces does not pass the rig's splitting.
    postgres = Postgres(disk, logged)
    conf = disk / "pg" / "postgresql.auto.conf"
    with conf.open("a") as file:
        file.write(f"archive_command = 'test ! -f {archive}/%f && cp %p {archive}/%f'\n")
    postgres.stop()
    postgres.start()
    data = tmp_path / "data"
    settings = Settings(collector=CollectorTable(data_dir=data), database=DatabaseSection(url=postgres.url))
    try:
        with opened(settings) as store:
            load_or_make(data)
            settle.settle(store, settings, NOW)
            before = store.epoch
            fill(store, gateway)
        base = place / "base"
        postgres._call("pg_basebackup", "-h", str(postgres._socket), "-U", "nabz", "-D", str(base), "--wal-method=none")
        with opened(settings) as store:
            fill(store, gateway, 2)
            with store.read() as conn:
                held = conn.scalar(sa.select(sa.func.count()).select_from(schema.evidence))
                segment = conn.scalar(sa.text("SELECT pg_walfile_name(pg_current_wal_lsn())"))
            store.outside("SELECT pg_switch_wal()")
            rig.wait_for(lambda: (archive / str(segment)).exists(), "the archive")
        postgres.stop()
        shutil.rmtree(disk / "pg")
        shutil.move(base, disk / "pg")
        with conf.open("a") as file:
            file.write(f"restore_command = 'cp {archive}/%f %p'\n")
        (disk / "pg" / "recovery.signal").touch()
        postgres.start()
        with opened(settings) as store:
            with store.read() as conn:
                assert conn.scalar(sa.select(sa.func.count()).select_from(schema.evidence)) == held
            settle.settle(store, settings, NOW)
            store.learn_epoch()
            assert store.epoch != before
            again = store.epoch
            settle.settle(store, settings, NOW)
            store.learn_epoch()
            assert store.epoch == again
    finally:
        postgres.kill()
