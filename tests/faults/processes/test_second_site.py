"""The first site is lost with all its disks; the second goes on from what `second-site.sh` has brought there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import rig
from tests.faults.databases import Postgres
from tests.faults.stacks import shared_disk

SCRIPT = rig.ROOT / "systemd" / "cluster" / "second-site.sh"


@dataclass
class SecondSite:
    house: rig.House
    folder: Path
    database: str

    def __post_init__(self) -> None:
        self.settings = self.folder / "second-site.conf"
        data = self.house.folder / "data"
        self.settings.write_text(
            f"PLACE={self.folder}\nFILES={data}\nBACKUPS={self.house.folder}/backups\nDATABASE='{self.database}'\n"
        )
        self.key = self.house.folder / "key"
        words = self.house.collector("backup", "--new-key", str(self.key), "--json")
        recipient = json.loads(self.house.call(words))["recipient"]
        (self.house.folder / "backups").mkdir()
        text = self.house.collector_toml.read_text()
        self.house.collector_toml.write_text(
            f'{text}[backup]\nfolder = "{self.house.folder}/backups"\nrecipients = ["{recipient}"]\n'
        )

    def run(self, *words: str) -> None:
        argv = [str(SCRIPT), *words]
        done = subprocess.run(argv, env=self._environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def streaming(self) -> Iterator[None]:
        process = subprocess.Popen(
            [str(SCRIPT), "wal"], env=self._environment, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            rig.wait_for(lambda: any((self.folder / "wal").glob("*.partial")), "PostgreSQL's log")
            yield
        finally:
            process.kill()
            process.wait()

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SETTINGS": str(self.settings)}


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.row(53)
def test_the_second_site_goes_on_and_no_gateway_loses_anything(tmp_path: Path) -> None:
    with shared_disk() as disk:
        first = Postgres(disk)
        house = rig.House(tmp_path, database=first.url)
        (disk / "second").mkdir()
        site = SecondSite(house, disk / "second", f"host={disk.parent}/socket user=nabz")
        second: Postgres | None = None
        try:
            house.open()
            took_s, second = drill(site, disk, first)
            account = rig.account(house, house.deliver(120))
        finally:
            house.close()
            for base in (first, second):
                if base is not None:
                    base.kill()
    print(f"second site: database {took_s['database']:.1f} s, all {took_s['all']:.1f} s after the loss; {account}")
    assert account.clean, account
    assert account.promised > 50


def drill(site: SecondSite, disk: Path, first: Postgres) -> tuple[dict[str, float], Postgres]:
    """The first site is lost while the gateway runs; seconds until there is a database, and until pages answer."""
    house = site.house
    with site.streaming():
        site.run("base")
        house.call(house.collector("backup", "--config", str(house.collector_toml)))
        site.run("copy")
        time.sleep(5)
    if os.geteuid() == 0:  # there the script runs as PostgreSQL's user
        subprocess.run(["chown", "-R", "postgres:postgres", str(site.folder)], check=True)
    house.kill("collector")
    first.kill()
    shutil.rmtree(house.folder / "data")
    shutil.rmtree(disk / "pg")
    began_s = time.monotonic()
    second = Postgres.restored(disk, lambda folder: site.run("restore", str(folder)))
    took_s = {"database": time.monotonic() - began_s}
    words = ("--keys-only", "--identity", str(site.key), "--config", str(house.collector_toml))
    (house.folder / "data").mkdir()
    shutil.copytree(site.folder / "files", house.folder / "data", dirs_exist_ok=True)
    house.call(house.collector("restore", str(site.folder / "backups"), *words))
    house.start("collector")
    house.wait_healthy()
    return took_s | {"all": time.monotonic() - began_s}, second
