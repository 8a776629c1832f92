"""Backups in a folder copy each file of the archive once, and one of them with its files of parts is a whole server."""

from __future__ import annotations

import os
import random
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from collector.access.signing_key import load_or_make
from collector.common.config import BackupSection, CollectorTable, DatabaseSection, Settings
from collector.recovery import archive, contents, copies, part_files, server
from collector.recovery.archive import ArchiveError, Keys
from collector.store import Store
from tests.collector.store.test_copies import empty

NOW, HOUR = 1_795_000_000_000, 3_600_000
SECRET, PUBLIC = archive.new_identity()
READER = Keys(identities=(SECRET,))


@dataclass
class Server:
    """A collector's folders, and its backups hour by hour."""

    store: Store
    settings: Settings
    hours: int = 0
    shares: list[float] = field(default_factory=list)  # of the work, as the last one told them

    @property
    def folder(self) -> Path:
        assert self.settings.backup.folder is not None
        return self.settings.backup.folder

    def archives(self, day: int, content: bytes) -> Path:
        path = self.settings.archive_folder / "link" / f"day={day}" / "part-1.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(day, NOW + self.hours))
        return path

    def backup(self, keys: Keys = Keys(recipients=(PUBLIC,))) -> copies.Made:  # noqa: B008
        now_ms = NOW + self.hours * HOUR
        self.hours += 1
        to = self.folder / copies.name_at(now_ms)
        self.shares.clear()
        return copies.make(self.store, self.settings, None, to, keys, now_ms, self.shares.append, is_whole=False)

    def parts(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.parts"))

    def restored(self, made: copies.Made, to: Path) -> dict[str, bytes]:
        self.shares.clear()
        unpacked = server.unpack(made.file, READER, to, self.shares.append)
        return {name: path.read_bytes() for name, path in unpacked.of(contents.ARCHIVE).items()}


@pytest.fixture
def house(either_store: Store, database_url: str, tmp_path: Path) -> Server:
    data, folder = tmp_path / "data", tmp_path / "backups"
    data.mkdir()
    folder.mkdir()
    load_or_make(data)
    backups = BackupSection(folder=folder, recipients=(PUBLIC,))
    table, database = CollectorTable(data_dir=data), DatabaseSection(url=database_url)
    return Server(either_store, Settings(collector=table, database=database, backup=backups))


def test_each_file_of_the_archive_is_copied_once_and_comes_back(
    house: Server, database_url: str, tmp_path: Path
) -> None:
    house.archives(1, b"one" * 50_000)
    first = house.backup()
    house.archives(2, b"two" * 50_000)
    second, third = house.backup(), house.backup()
    assert [one.parts_size > 0 for one in (first, second, third)] == [True, True, False]
    assert len(house.parts()) == 2
    name = "link/day={}/part-1.parquet".format
    for number, (made, days) in enumerate([(first, (1,)), (third, (1, 2))]):
        found = house.restored(made, tmp_path / f"unpacked-{number}")
        assert found == {name(day): (b"one", b"two")[day - 1] * 50_000 for day in days}
    place = tmp_path / "bare"
    there = Settings(
        collector=CollectorTable(data_dir=place), database=DatabaseSection(url=empty(database_url, tmp_path))
    )
    place.mkdir()
    server.install(server.unpack(third.file, READER, tmp_path / "whole"), there, None, NOW)
    assert (there.archive_folder / name(2)).read_bytes() == b"two" * 50_000
    with closing(Store.open(there.database_url)) as restored, restored.read() as conn:
        assert contents.facts(conn)["schema"]


def test_backup_and_unpacking_say_how_far_they_are(house: Server, tmp_path: Path) -> None:
    house.archives(1, random.Random(1).randbytes(4 << 20))
    made = house.backup()
    backup = list(house.shares)
    house.restored(made, tmp_path / "unpacked")
    for shares, least in ((backup, copies.WRITTEN), (house.shares, 0.05)):  # the check of what was written, too
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert any(least < share < 1 for share in shares)


def test_a_file_that_was_written_anew_or_lost_is_copied_again(house: Server, tmp_path: Path) -> None:
    house.archives(1, b"one")
    house.backup()
    house.archives(1, b"ONE")
    second = house.backup()
    assert house.restored(second, tmp_path / "a") == {"link/day=1/part-1.parquet": b"ONE"}
    for path in house.folder.glob("*.parts"):
        path.unlink()
    assert house.restored(house.backup(), tmp_path / "b") == {"link/day=1/part-1.parquet": b"ONE"}
    (house.settings.data_dir / part_files.INDEX).write_bytes(b"{harmed")
    assert house.backup().parts_size > 0


def test_files_of_parts_stay_as_long_as_a_kept_backup_needs_them(house: Server) -> None:
    data = house.settings.data_dir
    path = house.archives(1, b"one")
    house.backup()
    (first,) = house.parts()
    house.archives(2, b"two")
    house.backup()
    assert len(copies.let_go(house.folder, 1, data)) == 1
    assert first in house.parts()
    path.unlink()  # days of the archive are let go too
    house.backup()
    (data / part_files.INDEX).rename(data / "aside")
    copies.let_go(house.folder, 1, data)
    assert first in house.parts()  # nobody knows what is needed
    (data / "aside").rename(data / part_files.INDEX)
    copies.let_go(house.folder, 1, data)
    assert first not in house.parts()
    assert len(house.parts()) == 1
    assert house.backup().parts_size == 0


@pytest.mark.parametrize("harm", ["missing", "cut", "another"])
def test_a_backup_whose_parts_are_not_what_it_needs_is_refused(house: Server, tmp_path: Path, harm: str) -> None:
    house.archives(1, b"one")
    made = house.backup()
    (file,) = house.folder.glob("*.parts")
    if harm == "missing":
        file.unlink()
    elif harm == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    else:
        file.unlink()
        member = tmp_path / "x"
        member.write_bytes(b"another")
        archive.write(file, {"archive/link/day=1/part-1.parquet": member}, {}, Keys(recipients=(PUBLIC,)))
    with pytest.raises(ArchiveError, match=file.name):
        house.restored(made, tmp_path / "unpacked")
