"""PostgreSQL on three machines as `systemd/cluster/database-node.sh` sets it up: etcd, Patroni, one leader."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tests.faults import rig
from tests.faults.machines import Machine, machines
from tests.faults.makes import tool

SCRIPT = rig.ROOT / "systemd" / "cluster" / "database-node.sh"
NAMES = ("db1", "db2", "db3")


@dataclass
class Cluster:
    """`url` is what a collector's settings name: all three, whichever leads."""

    folder: Path
    nodes: dict[str, Machine]

    @property
    def url(self) -> str:
        hosts = ",".join(node.address for node in self.nodes.values())
        return f"postgresql+psycopg://postgres:secret@/nabz?host={hosts}&port=5432,5432,5432"

    def set_up(self, *words: str) -> None:
        secrets = self.folder / "secrets"
        secrets.mkdir()
        for name in ("postgres", "replicator"):
            (secrets / name).write_text("secret")
        members = " ".join(f"{node.name}={node.address}" for node in self.nodes.values())
        network = f"{next(iter(self.nodes.values())).address.rpartition('.')[0]}.0/24"
        for name in self.nodes:
            argv = [str(SCRIPT), "--node", name, "--members", members, "--network", network, "--secrets", str(secrets)]
            subprocess.run([*argv, "--root", str(self.folder / name), *words], check=True, capture_output=True)
        for name in self.nodes:
            self.start(name)
        rig.wait_for(lambda: self.leader() is not None and len(self.standbys()) == 2, "the cluster", 90)
        engine = sa.create_engine(self.url.replace("/nabz?", "/postgres?"), isolation_level="AUTOCOMMIT",
                                  connect_args={"target_session_attrs": "read-write"})  # fmt: skip
        with engine.connect() as conn:
            conn.exec_driver_sql("CREATE DATABASE nabz")
        engine.dispose()

    def start(self, name: str) -> None:
        """What the units of the packages do."""
        node, folder = self.nodes[name], self.folder / name
        lines = (folder / "etc/default/etcd").read_text().splitlines()
        environment = dict(line.split("=", 1) for line in lines)
        node.start([tool("etcd")], folder / "etcd.log", environment=environment)
        node.start([tool("patroni"), str(folder / "etc/patroni/config.yml")], folder / "patroni.log", user="postgres")

    def states(self) -> dict[str, str]:
        """The role of each node that answers, as it sees itself."""
        found = {}
        for node in self.nodes.values():
            try:
                with urllib.request.urlopen(f"http://{node.address}:8008/patroni", timeout=2) as answer:
                    about = json.load(answer)
            except urllib.error.HTTPError as error:
                about = json.load(error)
            except OSError:
                continue
            if about.get("state") == "running":
                found[node.name] = str(about["role"])
        return found

    def leader(self) -> str | None:
        return next((name for name, role in self.states().items() if role in ("master", "primary")), None)

    def standbys(self) -> list[str]:
        """That stream from the leader."""
        return [name for name, role in self.states().items() if role in ("replica", "sync_standby")]

    def configure(self, words: dict[str, object]) -> None:
        """Patroni's settings for all, until the leader follows them."""
        leader = self.nodes[str(self.leader())]
        url = f"http://{leader.address}:8008/config"
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(words).encode(), method="PATCH"), timeout=10)
        engine = sa.create_engine(self.url, connect_args={"target_session_attrs": "read-write"})

        def waits_for_nobody() -> bool:
            with engine.connect() as conn:
                return not conn.scalar(sa.text("SHOW synchronous_standby_names"))

        rig.wait_for(waits_for_nobody, "the leader's settings")
        engine.dispose()

    def wait_whole(self, seconds: float = 180) -> None:
        rig.wait_for(lambda: len(self.states()) == len(self.nodes) and self.leader() is not None, "all nodes", seconds)


@contextmanager
def cluster(folder: Path, *words: str) -> Iterator[Cluster]:
    """`folder` may be entered by other users."""
    with machines(NAMES) as nodes:
        made = Cluster(folder, nodes)
        for name in nodes:
            (folder / name).mkdir()
        made.set_up(*words)
        yield made
    shutil.rmtree(folder, ignore_errors=True)
