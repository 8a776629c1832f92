"""Mosquitto or NATS as an operator runs it: settings by `broker-config`, kept by a collector (`[[broker.outside]]`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from collector.common.config import ExternalBrokerSection
from tests.faults import rig
from tests.faults.makes import listening, tool
from tests.helpers.collector_side import House
from tests.helpers.ports import free_ports

ARGV = {"mosquitto": ["mosquitto", "-c", "mosquitto.conf"], "nats": ["nats-server", "-c", "nats.conf"]}


@dataclass
class Kept:
    """`tls` and `websocket` are its ports."""

    make: str
    folder: Path
    tls: int
    websocket: int
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        return f"mqtts://127.0.0.1:{self.tls}"

    def settings(self, *, reload: bool = True) -> ExternalBrokerSection:
        words = ("/bin/kill", "-HUP", str(self.process.pid)) if reload else ()
        return ExternalBrokerSection(make=self.make, url=self.url, folder=self.folder, reload=words)  # type: ignore[arg-type]

    def start(self) -> None:
        program, *words = ARGV[self.make]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([tool(program), *words], cwd=self.folder, stdout=log, stderr=log)
        for port in (self.tls, self.websocket):
            listening(port, self.process, self.folder / "log")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def written(make: str, house: House, folder: Path) -> Kept:
    """What `nabz-collector broker-config` makes of the house's own settings, for free ports."""
    tls, websocket, client = free_ports(3)
    data = house.settings.data_dir
    toml = folder.parent / f"{folder.name}.toml"
    toml.write_text(
        f'[collector]\ndata_dir = "{data}"\n[broker]\ntls_listen = "127.0.0.1:{tls}"\n'
        f'websocket_listen = "0.0.0.0:{websocket}"\npublic_websocket = "127.0.0.1:{websocket}"\n'
        f"[ingest]\nworkers = {house.settings.ingest.workers}\n"
    )
    argv = [sys.executable, "-m", "collector", "broker-config", make, "--out", str(folder), "--config", str(toml)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, cwd=rig.ROOT)
    assert done.returncode == 0, done.stderr
    for path in (folder / "mosquitto.conf", folder / "nats.conf"):
        if path.exists():
            text = path.read_text().replace("127.0.0.1:4222", f"127.0.0.1:{client}")
            user = "user root\n" if make == "mosquitto" and os.geteuid() == 0 else ""
            path.write_text(text + user)
    return Kept(make, folder, tls, websocket)


@contextmanager
def kept(make: str, house: House, folder: Path) -> Iterator[Kept]:
    made = written(make, house, folder)
    made.start()
    with ExitStack() as stack:
        stack.callback(made.kill)
        yield made
