"""A speed test from the desk's wish to the verdict: real collector, broker, measurement server and agent, and a line
between them. Then what an owner would send instead, over the same wire."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.lines.line import CLIENT, SERVER, Line, Terms, line
from collector.judging.flags.witness import RULES
from collector.store import Store, schema
from tests.helpers.processes import token_words

WEB, MEASURE, BROKER, ENROL = 8480, 8481, 8883, 8443
TERMS = Terms(down_mbps=60, up_mbps=30, rtt_ms=20)


def missing() -> str:
    if os.geteuid() != 0:
        return "needs root: it makes network namespaces"
    return "" if shutil.which("ip") and Path("/dev/net/tun").exists() else "needs iproute2 and /dev/net/tun"


pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing()) and not os.environ.get("CI"), reason=missing() or "-"),
]


class Center:
    """A collector at the far end of a line and an agent at the near one. They share this machine's files only."""

    def __init__(self, folder: Path, made: Line) -> None:
        self.made, self.folder = made, folder
        self.collector, self.agent = folder / "collector.toml", folder / "agent.toml"
        self.collector.write_text(
            f'[collector]\ndata_dir = "{folder}/data"\n[web]\nlisten = "{SERVER}:{WEB}"\nproxy = ["{SERVER}"]\n'
            f'[measure]\nlisten = "{SERVER}:{MEASURE}"\n[broker]\ntls_listen = "{SERVER}:{BROKER}"\n'
            f'[enrolment]\nlisten = "{SERVER}:{ENROL}"\n'
        )
        self.agent.write_text(
            f'[agent]\nstate_dir = "{folder}/agent"\nstatus_listen = "127.0.0.1:8470"\n[seats]\nenabled = false\n'
            '[speed]\nat_start = false\nmode = "quick"\n'
        )
        self.running: list[subprocess.Popen[bytes]] = []

    def call(self, end: Sequence[str], *words: str) -> str:
        done = subprocess.run([*end, sys.executable, "-m", *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def desk(self, *words: str) -> str:
        return self.call((), "collector", *words, "--config", str(self.collector))

    def start(self, end: Sequence[str], *words: str) -> None:
        log = (self.folder / f"{words[0]}.log").open("wb")
        argv = [*end, sys.executable, "-m", *words]
        self.running.append(subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True))
        log.close()

    def until(self, true: Callable[[], object], seconds: float = 60) -> None:
        until_s = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < until_s, self.logs()
            time.sleep(0.2)

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in self.folder.glob("*.log"))

    def healthy(self) -> bool:
        script = f"import urllib.request as u; u.urlopen('http://{SERVER}:{WEB}/healthz', timeout=2)"
        return not subprocess.run([*self.made.client, sys.executable, "-c", script], capture_output=True).returncode

    def rows(self, table: sa.Table) -> list[sa.Row]:
        store = Store.attach(f"sqlite:///{self.folder}/data/nabz.db")
        try:
            with store.read() as conn:
                return list(conn.execute(sa.select(table)))
        finally:
            store.close()

    def stop(self) -> None:
        for process in reversed(self.running):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def center(folder: Path) -> Iterator[Center]:
    with line(TERMS) as made:
        house = Center(folder, made)
        try:
            yield house
        finally:
            house.stop()


@pytest.mark.slow
def test_a_desks_wish_becomes_a_test_that_its_server_witnesses_and_a_verdict(tmp_path: Path) -> None:
    with center(tmp_path) as house:
        house.start(house.made.server, "collector", "serve", "--config", str(house.collector))
        house.until(house.healthy)
        about = ("--name", "One", "--tier", "two", "--seats-promised", "10", "--opening", "always")
        house.desk("center", "add", "--code", "LHR-1", *about)
        facts = json.loads(house.desk("token", "LHR-1", "--json"))
        words = [*facts["enrol"].split()[1:], *token_words(tmp_path, facts["token"])]
        house.call(house.made.client, "agent", *words, "--config", str(house.agent))
        house.start(house.made.client, "agent", "run", "--config", str(house.agent))
        house.until(lambda: house.rows(schema.pulse))
        house.desk("center", "test", "LHR-1")
        house.until(lambda: house.rows(schema.records), 60)
        house.until(lambda: house.rows(schema.readings["speed"]), 60)

        reading = house.rows(schema.readings["speed"])[0]  # on a busy machine the schedule's own test may follow
        record = next(record for record in house.rows(schema.records) if record.test_id == reading.test_id)
        assert reading.failure is None, reading.failure
        assert (record.device, record.witnessed) == (reading.device, True)
        assert record.address == CLIENT
        assert record.min_rtt_ms >= TERMS.rtt_ms * 0.9
        for figure, seen in ((reading.download_mbps, record.down_mbps), (reading.upload_mbps, record.up_mbps)):
            assert abs(figure / seen - 1) * 100 <= RULES.bound_pct
        house.until(lambda: {f.verdict for f in speed_flags(house)} == {"meets"}, 20)
        assert house.rows(schema.integrity) == []

        file = tmp_path / "records.jsonl"
        file.write_text(house.desk("evidence", "records", "--center", "LHR-1"))
        bodies = [base64.b64decode(json.loads(line)["body"]) for line in file.read_text().splitlines()]
        key = json.loads(file.read_text().splitlines()[0])["public_key"]
        words = ("collector", "evidence", "verify", str(file), "--key", key, "--json")
        verified = json.loads(house.call((), *words))
        assert verified["right"] == len(bodies) >= 1
        assert bytes(record.body) in bodies


def speed_flags(house: Center) -> list[sa.Row]:
    return [flag for flag in house.rows(schema.flags) if flag.criterion in ("internet.download", "internet.upload")]
