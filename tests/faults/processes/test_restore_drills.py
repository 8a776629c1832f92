"""The server's database is lost at a random moment and a backup restored, with agents running: nothing that a gateway
still holds is lost, and a gateway that was revoked after the copy is not let in again (design P10)."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.store import Store, schema
from tests.faults import rig
from tests.faults.databases import Postgres
from tests.helpers.ports import free_ports
from tests.helpers.processes import token_words

SHORT, FULL = 1, 20
SECOND = "FAULT-2"


@dataclass
class Site:
    """A house with a second agent, which will be revoked."""

    house: rig.House
    key: Path
    postgres: Postgres | None = None

    def call(self, *words: str) -> str:
        return self.house.call(self.house.collector(*words, "--config", str(self.house.collector_toml)))

    def second_agent(self) -> str:
        """Its name at the collector."""
        folder, (status, seats) = self.house.folder, free_ports(2)
        text = self.house.agent_toml.read_text().replace(f"{folder}/agent", f"{folder}/agent2")
        text = text.replace(f":{self.house.status}", f":{status}").replace(f":{self.house.seats}", f":{seats}")
        toml = folder / "agent2.toml"
        toml.write_text(text)
        facts = ("--name", "Second", "--tier", "one", "--seats", "1", "--opening", "always")
        self.call("center", "add", "--code", SECOND, *facts)
        token = json.loads(self.call("token", SECOND, "--json"))["token"]
        web = f"http://127.0.0.1:{self.house.web}"
        self.house.call(self.house.agent("enrol", web, *token_words(folder, token), "--config", str(toml)))
        self.house.argv["agent2"] = self.house.agent("run", "--config", str(toml))
        self.house.start("agent2")
        return str(json.loads((folder / "agent2" / "identity.json").read_text())["device"])

    def back_up(self) -> Path:
        public = subprocess.run(
            self.house.collector("backup", "--new-key", str(self.key), "--json"), capture_output=True, check=True
        ).stdout
        file = self.house.folder / "one.backup"
        self.call("backup", str(file), "--recipient", json.loads(public)["recipient"])
        return file

    def lose_database(self) -> None:
        self.house.kill("collector")
        if self.postgres is not None:
            url = self.house.database.replace("/nabz?", "/postgres?")
            engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
            with engine.connect() as conn:
                conn.exec_driver_sql("DROP DATABASE nabz WITH (FORCE)")
                conn.exec_driver_sql("CREATE DATABASE nabz")
            return
        for path in (self.house.folder / "data").glob("nabz.db*"):
            path.unlink()

    def lose_machine(self) -> None:
        self.lose_database()
        shutil.rmtree(self.house.folder / "data")

    def received(self, device: str) -> int:
        with closing(Store.open(self.house.database)) as store, store.read() as conn:
            count = sa.select(sa.func.count()).where(schema.evidence.c.device == device)
            return int(conn.scalar(count) or 0)


def play(site: Site, seed: int, *, machine: bool, restores: int = 1) -> rig.Account:
    """What became of the readings of the gateway that stays; asserts of the other one. Each restore is of the same
    copy: after the second, gateways hold receipts of two epochs that the database does not know."""
    chance, house = random.Random(seed), site.house
    try:
        house.open()
        device = site.second_agent()
        rig.wait_for(lambda: site.received(device) > 0, "its first readings")
        time.sleep(chance.uniform(0, 4))
        file = site.back_up()
        time.sleep(chance.uniform(0.5, 4))
        if not machine:
            site.call("device", "revoke", device, "--reason", "stolen")
        time.sleep(chance.uniform(0.5, 4))
        words = ["--identity", str(site.key), "--force"] + (["--confirm-by", "Bina"] if machine else [])
        for _ in range(restores):
            (site.lose_machine if machine else site.lose_database)()
            site.call("restore", str(file), *words)
            before = site.received(device)
            house.start("collector")
            house.wait_healthy()
            time.sleep(chance.uniform(1, 3))
        account = rig.account(house, house.deliver(90))
        if not machine:
            assert site.received(device) == before, f"a revoked gateway was let in; replay with --fault-seed {seed}"
        else:
            rig.wait_for(lambda: site.received(device) > before, "the second gateway, without a visit")
        return account
    finally:
        for name in ("agent2", "agent", "collector", "broker"):
            house.stop(name)


@pytest.mark.slow
@pytest.mark.row(49, 53)
@pytest.mark.parametrize(
    ("machine", "restores"), [(False, 1), (True, 1), (False, 2)], ids=["database", "machine", "twice"]
)
@pytest.mark.parametrize("make", ["sqlite", "postgresql"])
def test_a_restore_with_agents_running_loses_nothing_and_trusts_nobody_again(
    make: str, machine: bool, restores: int, seed: int, torture: bool, tmp_path: Path
) -> None:
    plays = FULL if torture else SHORT
    total = 0
    for number in range(plays):
        account = one_play(make, tmp_path / f"p{number}", seed + number, machine=machine, restores=restores)
        assert (account.lost, account.doubled, account.altered) == (0, 0, 0), f"--fault-seed {seed + number}: {account}"
        assert account.promised > 10
        total += account.promised
    print(
        make,
        "machine" if machine else "database",
        plays,
        "plays,",
        plays * restores,
        "restores:",
        total,
        "promised, 0 lost",
    )


def one_play(make: str, folder: Path, seed: int, *, machine: bool, restores: int) -> rig.Account:
    disk = folder / "disk"
    disk.mkdir(parents=True)
    if make == "sqlite":
        return play(Site(rig.House(folder), folder / "key"), seed, machine=machine, restores=restores)
    postgres = Postgres(disk, "-c fsync=off")
    try:
        site = Site(rig.House(folder, database=postgres.url), folder / "key", postgres)
        return play(site, seed, machine=machine, restores=restores)
    finally:
        postgres.kill()
