"""Drills: the newest backup is restored beside the running system and compared; what is wrong with it is said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent.common.reasons import Reason
from collector.__main__ import main
from collector.access.ca import Authority
from collector.access.signing_key import load_or_make
from collector.common.config import load
from collector.recovery import archive, copies, drill
from collector.run.upkeep.backups import RETRY_MS, Backups
from collector.store import Store, schema
from collector.store.database import opened
from tests.collector.store.test_copies import fill

NOW = 1_795_000_000_000
_, PUBLIC = archive.new_identity()


@pytest.fixture
def site(either_store: Store, database_url: str, gateway: Callable[..., object], tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    load_or_make(data)
    Authority(data, NOW)
    fill(either_store, gateway)
    config = tmp_path / "collector.toml"
    config.write_text(
        f'[collector]\ndata_dir = "{data}"\n[database]\nurl = "{database_url}"\n'
        f'[backup]\nfolder = "{tmp_path}/backups"\nrecipients = ["{PUBLIC}"]\n'
    )
    return config


def drilled(config: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, object]:
    capsys.readouterr()
    assert main(["drill", "--config", str(config), "--json"]) == code
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def databases(store: Store) -> set[str]:
    if not store.parted:
        return set()
    with store.read() as conn:
        return set(conn.scalars(sa.text("SELECT datname FROM pg_database WHERE datname LIKE 'nabz_drill%'")))


@pytest.mark.row(54)
def test_a_good_backup_passes_and_nothing_of_the_drill_stays(
    site: Path, either_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drilled(site, capsys, 1)["code"] == "drill.failed"  # there is none yet
    assert main(["backup", "--config", str(site)]) == 0
    answer = drilled(site, capsys)
    assert (answer["code"], answer["good"]) == ("drill.good", True)
    assert answer["params"]["batches"] == 24  # type: ignore[index]
    assert databases(either_store) == set()
    assert list((load(site).data_dir / copies.STAGING).iterdir()) == []
    with either_store.read() as conn:
        newest = drill.newest(conn, "drill")
        backup = drill.newest(conn, "backup")
    assert newest is not None
    assert backup is not None
    assert (newest.is_good, newest.file, newest.made_ms) == (True, backup.file, backup.made_ms)


@pytest.mark.row(54)
@pytest.mark.parametrize(
    ("harm", "code"),
    [("cut", "drill.failed"), ("key", "drill.other_key"), ("signature", "drill.unsigned"), ("rows", "drill.differs")],
)
def test_what_would_not_bring_the_server_back_is_said(
    harm: str, code: str, site: Path, either_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if harm == "signature":
        with either_store.write() as conn:
            conn.execute(sa.update(schema.evidence).values(signature=b"x" * 64))
    assert main(["backup", "--config", str(site)]) == 0
    (file,) = copies.listed(tmp_path / "backups")
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif harm == "key":
        (tmp_path / "data" / "collector.key").write_bytes(b"k" * 32)
    elif harm == "rows":
        file.unlink()
        with opened(load(site)) as store:
            lied(store, site, file)
    answer = drilled(site, capsys, 1)
    assert (answer["code"], answer["good"]) == (code, False)
    assert databases(either_store) == set()


def lied(store: Store, site: Path, to: Path) -> None:
    """A backup whose database is not the one that its manifest tells of."""
    settings = load(site)
    own = archive.public_of(copies.own_identity(settings.data_dir))
    made = copies.make(store, settings, site, to, archive.Keys(recipients=(own,)), 1)
    about = made.manifest.about | {"rows": {"devices": 1}}
    folder = to.parent / "unpacked"
    folder.mkdir()
    members: dict[str, Path] = {}

    def take(name: str, content: object) -> None:
        path = folder / name.replace("/", "_")
        path.write_bytes(content.read())  # type: ignore[attr-defined]
        members[name] = path

    secret = copies.own_identity(settings.data_dir)
    archive.read(to, archive.Keys(identities=(secret,)), take)
    to.unlink()
    archive.write(to, members, about, archive.Keys(recipients=(own,)))


def wait_for_end(tasks: Backups) -> None:
    until_s = time.monotonic() + 60
    while tasks._running is not None:
        assert time.monotonic() < until_s
        time.sleep(0.05)
        tasks.tick()


def test_backups_and_drills_are_made_at_their_times(site: Path, either_store: Store, tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    tasks = Backups(either_store, load(site), ["--config", str(site)], lambda: now_ms)
    tasks.tick()
    wait_for_end(tasks)  # one after the other: the drill follows the backup
    with either_store.read() as conn:
        assert [drill.newest(conn, act).is_good for act in ("backup", "drill")] == [True, True]  # type: ignore[union-attr]
    tasks.tick()
    assert tasks._running is None
    later = Backups(either_store, load(site), ["--config", str(site)], lambda: now_ms + 25 * 3_600_000)
    later.tick()
    assert later._running is not None
    assert later._running[0] == "backup"
    later._running[1].wait(60)


def test_a_clock_that_was_ahead_puts_no_backup_off_and_asks_for_none_too_many(
    site: Path, either_store: Store, tmp_path: Path
) -> None:
    """What was made then has a time of a year later on record and in its name: it is not the newest for a year."""
    settings = load(site)
    now_ms = time.time_ns() // 1_000_000
    ahead_ms = now_ms + 365 * 24 * 3_600_000
    folder = tmp_path / "backups"
    folder.mkdir()
    for number in range(settings.backup.keep):
        (folder / copies.name_at(ahead_ms + number * 1_000)).write_bytes(b"of the jump")
    good = Reason("backup.good", {"n": 1})
    jumped = drill.Copy(
        act="backup", at_ms=ahead_ms, took_s=1.0, file="", made_ms=ahead_ms, size=1, is_good=True, detail=good
    )
    drill.record(either_store, jumped)
    tasks = Backups(either_store, settings, ["--config", str(site)], lambda: now_ms)
    tasks.tick()
    wait_for_end(tasks)  # the backup, and the drill of it
    with either_store.read() as conn:
        made, tried = (drill.newest(conn, act) for act in ("backup", "drill"))
    assert made is not None
    assert tried is not None
    assert (Path(made.file).exists(), copies.listed(folder)[-1]) == (True, Path(made.file))
    assert (tried.is_good, tried.file) == (True, made.file)
    later = Backups(either_store, settings, ["--config", str(site)], lambda: now_ms + RETRY_MS)
    later.tick()
    assert later._running is None


def test_a_backup_that_fails_is_tried_again(site: Path, either_store: Store, tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("no folder")
    clock = [time.time_ns() // 1_000_000]
    tasks = Backups(either_store, load(site), ["--config", str(site)], lambda: clock[0])
    tasks.tick()
    wait_for_end(tasks)
    tasks.tick()
    assert tasks._running is None
    (tmp_path / "backups").unlink()
    clock[0] += RETRY_MS
    tasks.tick()
    wait_for_end(tasks)
    assert len(copies.listed(tmp_path / "backups")) == 1
