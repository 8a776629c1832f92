"""A backup has the archive's files with it; a restore puts them in place, and a drill sees that none is lacking."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from collector.__main__ import main
from collector.access.ca import Authority
from collector.access.signing_key import load_or_make
from collector.common.config import load
from collector.recovery import archive
from collector.run.upkeep.archiving import EVERY_MS, Archiving
from collector.store import Store
from collector.store.archive import thaw
from collector.store.cold import held
from collector.store.database import opened
from tests.collector.store.archive.site import NOW, Days

pytest.importorskip("pyarrow")
SECRET, PUBLIC = archive.new_identity()


@pytest.fixture
def days(tmp_path: Path, gateway: Callable[..., object]) -> Days:
    data = tmp_path / "data"
    data.mkdir()
    load_or_make(data)
    Authority(data, NOW)
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "collector.toml").write_text(
        f'[collector]\ndata_dir = "{data}"\n[backup]\nfolder = "{tmp_path}/backups"\nrecipients = ["{PUBLIC}"]\n'
    )
    store = Store.open(f"sqlite:///{data / 'nabz.db'}")
    made = Days(store, data / "archive")
    made.fill(gateway, ["LHR-1", "KHI-2"], 3)
    made.archive()
    return made


def drilled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    main(["drill", "--config", str(tmp_path / "collector.toml"), "--json"])
    return str(json.loads(capsys.readouterr().out)["code"])


def test_what_is_archived_is_restored(days: Days, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = days.state()
    days.store.close()
    assert main(["backup", "--config", str(tmp_path / "collector.toml")]) == 0
    assert drilled(tmp_path, capsys) == "drill.good"
    other = tmp_path / "other"
    words = ["--data", str(other), "--config", str(other / "collector.toml"), "--identity", str(tmp_path / "key")]
    assert main(["restore", str(tmp_path / "backups"), *words]) == 0
    with opened(load(other / "collector.toml")) as store:
        assert store.archive == other / "archive"
        assert Days(store, other / "archive").state() == before


def test_a_drill_sees_that_a_file_is_lacking(days: Days, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(days.store):
        next((days.folder / "ups").rglob("*.parquet")).unlink()
    assert main(["backup", "--config", str(tmp_path / "collector.toml")]) == 0
    assert drilled(tmp_path, capsys) == "drill.differs"


def test_the_running_collector_archives_each_hour_in_a_process_of_its_own(
    days: Days, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thaw_all(days)
    before, clock = days.in_tables()["evidence"], [NOW]
    archiving = Archiving(["--config", str(tmp_path / "collector.toml")], lambda: clock[0])
    archiving.tick()
    assert archiving.pid is None  # not while everything starts
    clock[0] += EVERY_MS
    archiving.tick()
    assert archiving.pid is not None
    until_s = time.monotonic() + 60
    while archiving.pid is not None:
        assert time.monotonic() < until_s
        time.sleep(0.05)
        archiving.tick()
    assert days.in_tables()["evidence"] < before
    assert "archive_failed" not in caplog.text
    days.store.close()


def thaw_all(days: Days) -> None:
    with days.store.write() as conn:
        thaw.thaw(conn, held.places(conn))
