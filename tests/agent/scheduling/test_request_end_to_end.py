"""One turn from end to end: the whole agent asks, the whole collector gives, its server admits, the row is whole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.ports import free_ports
from tests.helpers.processes import token_words

HOST = socket.gethostname()  # by name: against 127.0.0.1 it would be a self-test, which asks nobody


@contextlib.contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([sys.executable, "-m", *words], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        started.wait(60)


def call(*words: str) -> str:
    return subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True, text=True).stdout


def rows(folder: Path, table: str) -> list[dict[str, object]]:
    with contextlib.closing(sqlite3.connect(folder / "data" / "nabz.db")) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(f"SELECT * FROM {table}")]


@pytest.fixture
def ports() -> list[int]:
    return free_ports(4)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_gateway_gets_its_turn_tests_and_the_turn_is_done(tmp_path: Path, ports: list[int]) -> None:
    web, broker, measure, status = ports
    central, gateway = tmp_path / "collector.toml", tmp_path / "agent.toml"
    central.write_text(
        f'[collector]\ndata_dir = "{tmp_path}/data"\n[web]\nlisten = "127.0.0.1:{web}"\n'
        f'[measure]\nlisten = "0.0.0.0:{measure}"\npublic_url = "http://{HOST}:{measure}"\n'
        f'[broker]\nlisten = "127.0.0.1:{broker}"\n'
    )
    gateway.write_text(
        f'[agent]\nstate_dir = "{tmp_path}/agent"\ncycle_s = 5\nstatus_listen = "127.0.0.1:{status}"\n'
        '[link]\ntarget = "127.0.0.1"\nprobes = 3\ninterval_ms = 20\nisp_hops = 0\ntimeout_s = 0.5\nlookup = ""\n'
        '[speed]\nmode = "quick"\nslots = []\n[seats]\nenabled = false\n'
    )
    with process("collector", "serve", "--config", str(central)):
        until(lambda: answers(web))
        facts = ("--code", "LHR-001", "--name", "L", "--tier", "three", "--seats-promised", "9", "--opening", "always")
        call("collector", "center", "add", *facts, "--config", str(central))
        token = json.loads(call("collector", "token", "LHR-001", "--json", "--config", str(central)))["token"]
        call("agent", "enrol", f"http://127.0.0.1:{web}", *token_words(tmp_path, token), "--config", str(gateway))
        with process("agent", "run", "--config", str(gateway)):
            until(lambda: [row["state"] for row in rows(tmp_path, "grants")] == ["done"])
    (grant,), (reading,) = rows(tmp_path, "grants"), rows(tmp_path, "speed_readings")
    assert (grant["purpose"], grant["reason"]) == ("routine", "result")
    assert (reading["test_id"], reading["failure"], reading["purpose"]) == (grant["test_id"], None, "routine")
    assert reading["download_mbps"]
    assert reading["server"] == f"http://{HOST}:{measure}"
    assert json.loads((tmp_path / "agent" / "speed.json").read_text())["bytes"] == reading["bytes_total"]


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, "it did not come about in time"
        time.sleep(0.1)
