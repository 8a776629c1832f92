"""What a backup costs: the first one of a server, the next ones of which only the database is copied, the restore.

A database of made-up evidence and an archive of files that cannot be compressed; each backup is encrypted, read back
and named as the collector does it. Beside it the same bytes copied and synced by the system, as the physical limit.

`--log`: a PostgreSQL with some hours of a fleet's live minutes, its log received by `pg_receivewal` as it is written.
What an hour of the log costs and weighs stands beside our backup of the whole and PostgreSQL's own base backup; of each
the client's processor time and, by the kernel's account of ended servers, PostgreSQL's.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from bench.fleet.growth import play
from bench.fleet.live import Spent
from collector.access.signing_key import load_or_make
from collector.common.config import BackupSection, CollectorTable, DatabaseSection, Settings
from collector.recovery import archive, copies, server
from collector.recovery.archive import Keys
from collector.store import Store, bulk_insert, schema

BODY = 1_500  # bytes of a batch
HOUR_MS, NOW_MS = 3_600_000, 1_795_000_000_000
FILE_MB = 8


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database-mb", type=int, default=300, metavar="MB")
    parser.add_argument("--archive-mb", type=int, default=700, metavar="MB")
    parser.add_argument("--log", action="store_true", help="beside PostgreSQL's own log instead (root)")
    parser.add_argument("--centers", type=int, default=1_000, metavar="N", help="of --log (default 1,000)")
    parser.add_argument("--hours", type=int, default=2, metavar="N", help="of --log (default 2)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="on the disk to be measured")


def run(options: argparse.Namespace) -> int:
    if options.log:
        _beside_log(options)
    else:
        _of_sqlite(options)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    return 0


def _of_sqlite(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        place = Path(name)
        secret, public = archive.new_identity()
        settings = _settings(place, public)
        with closing(Store.open(settings.database_url)) as store:
            _fill(store, options.database_mb)
            _archive(settings.archive_folder, 0, options.archive_mb)
            database_gb = (place / "nabz.db").stat().st_size / 1e9
            whole_gb = database_gb + options.archive_mb / 1e3
            plain = timed(lambda: _copy(place, place / "plain"))
            _say("copied by the system, synced", plain, whole_gb)
            for hour, (words, gb) in enumerate(
                (("first backup", whole_gb), ("next hour", database_gb), ("next hour, a day archived", database_gb))
            ):
                if hour == 2:
                    _archive(settings.archive_folder, 1, FILE_MB)
                _say(words, timed(lambda hour=hour: _backup(store, settings, public, hour)), gb)  # type: ignore[misc]
        newest = copies.listed(place / "backups")[-1]
        readers = Keys(identities=(secret,))
        _say("unpacked and checked", timed(lambda: server.unpack(newest, readers, place / "back")), whole_gb)
        sizes = {path.name: path.stat().st_size // 1_000_000 for path in sorted((place / "backups").iterdir())}
        print("MB of each file:", ", ".join(f"{name} {size}" for name, size in sizes.items()))


# ---------------------------------------------------------------- beside PostgreSQL's log


def _beside_log(options: argparse.Namespace) -> None:
    with play("postgresql", options.centers) as stage, tempfile.TemporaryDirectory(dir=options.folder) as name:
        place, store = Path(name), stage.store
        place.chmod(0o777)
        assert stage.pid is not None
        _secret, public = archive.new_identity()
        settings = _settings(place, public)
        server = _Server(store, stage.pid)
        _say_beside("base backup of an empty one", server.timed(lambda: server.base(place / "first")), place / "first")
        (place / "log").mkdir()
        receiver = subprocess.Popen(server.words("pg_receivewal", "-D", str(place / "log")))
        try:
            for hour in range(options.hours):
                began, spent = server.written(), Spent()
                for _ in range(60):
                    stage.minute(spent)
                own_s, postgresql_s = spent.own_s, spent.database_s
                log_mb, receiver_s = (server.written() - began) / 1e6, _cpu_s(receiver.pid)
                print(
                    f"hour {hour + 1}: {spent.batches} batches, {own_s:.1f} s CPU to take, {postgresql_s:.1f} of "
                    f"PostgreSQL; {log_mb:.0f} MB of log, {receiver_s:.2f} s CPU of its receiver until now",
                    flush=True,
                )
            held = store_size(store)
            to = place / "backups" / copies.name_at(NOW_MS)
            keys = Keys(recipients=(public,))
            ours = server.timed(lambda: copies.make(store, settings, None, to, keys, NOW_MS, is_whole=False))
            _say_beside("our backup", ours, to)
            _say_beside("base backup", server.timed(lambda: server.base(place / "base")), place / "base")
            print(f"database {held / 1e6:.0f} MB")
        finally:
            receiver.terminate()
            receiver.wait(30)


class _Server:
    """A PostgreSQL that a bench has started, and its own tools."""

    def __init__(self, store: Store, pid: int) -> None:
        self._store, self._pid = store, pid
        with store.read() as conn:
            self._socket = str(conn.engine.url.query["host"])
        self._bin = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1].parent

    def words(self, tool: str, *options: str) -> list[str]:
        return [str(self._bin / tool), "-h", self._socket, "-U", "nabz", *options]

    def base(self, to: Path) -> None:
        words = self.words("pg_basebackup", "-D", str(to), "-Ft", "-z", "--wal-method=none", "--checkpoint=fast")
        subprocess.run(words, check=True, capture_output=True)

    def written(self) -> int:
        """Bytes of its log since it was made."""
        with self._store.read() as conn:
            return int(conn.scalar(sa.text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")) or 0)

    def timed(self, work: Callable[[], object]) -> tuple[float, float, float]:
        """Seconds by the clock, of the client's processor time, and of that of servers that have ended since."""
        before_s = self._ended_s()
        clock_s, spent_s = timed(work)
        return clock_s, spent_s, self._ended_s() - before_s

    def _ended_s(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def store_size(store: Store) -> int:
    with store.read() as conn:
        return int(conn.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)


def _say_beside(words: str, took: tuple[float, float, float], made: Path) -> None:
    files = [made] if made.is_file() else list(made.rglob("*"))
    size_mb = sum(file.stat().st_size for file in files) / 1e6
    print(
        f"{words:<30} {took[0]:6.1f} s, {took[1]:6.1f} s CPU and {took[2]:6.1f} of PostgreSQL; {size_mb:.0f} MB",
        flush=True,
    )


# ---------------------------------------------------------------- small things


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of processor time of this process and its children."""
    began_s, spent_s = time.monotonic(), _spent_s()
    work()
    return time.monotonic() - began_s, _spent_s() - spent_s


def _spent_s() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def _say(words: str, took: tuple[float, float], gb: float) -> None:
    print(
        f"{words:<30} {took[0]:6.1f} s, {took[1]:6.1f} s CPU; {took[1] / gb:6.1f} s CPU a GB of {gb:.2f} GB", flush=True
    )


def _settings(place: Path, public: str) -> Settings:
    (place / "backups").mkdir()
    load_or_make(place)
    backups = BackupSection(folder=place / "backups", recipients=(public,))
    database = DatabaseSection(url=f"sqlite:///{place}/nabz.db")
    return Settings(collector=CollectorTable(data_dir=place), database=database, backup=backups)


def _fill(store: Store, size_mb: int) -> None:
    count = size_mb * 1_000_000 // (BODY + 300)
    with store.write() as conn:
        for first in range(0, count, 5_000):
            some = range(first, min(count, first + 5_000))
            bulk_insert(conn, schema.evidence, [_batch(number) for number in some])


def _batch(number: int) -> dict[str, object]:
    half = os.urandom(BODY // 2)
    return {
        "received_ms": NOW_MS + number, "center": f"C-{number % 1_000}", "device": f"g{number % 1_000}",
        "spool": "0" * 32, "first_seq": number, "last_seq": number, "body": half + b"reading" * (BODY // 14),
        "signature": os.urandom(64), "issued_ms": None, "fresh": "[]",
    }  # fmt: skip


def _archive(folder: Path, day: int, size_mb: int) -> None:
    for number in range(max(1, size_mb // FILE_MB)):
        path = folder / "link" / f"day={day}" / f"part-{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(FILE_MB * 1_000_000))


def _copy(place: Path, to: Path) -> None:
    to.mkdir()
    for path in (place / "nabz.db", *place.rglob("*.parquet")):
        copy = to / f"{len(list(to.iterdir()))}"
        shutil.copyfile(path, copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(to)


def _backup(store: Store, settings: Settings, public: str, hour: int) -> None:
    now_ms = NOW_MS + hour * HOUR_MS
    assert settings.backup.folder is not None
    to = settings.backup.folder / copies.name_at(now_ms)
    copies.make(store, settings, None, to, Keys(recipients=(public,)), now_ms, is_whole=False)
