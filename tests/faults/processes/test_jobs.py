"""Jobs on two machines over one PostgreSQL; the one that has them is killed outright, again and again.

Nothing is late by more than a minute and nothing is done twice: sheets are made once each, and of messages the one that
was on its way is `unsure` and never sent again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa

from collector.access.ca import Authority
from collector.access.signing_key import load_or_make
from collector.store import Store, schema
from collector.store.jobs import rows
from tests.faults.databases import Postgres
from tests.faults.stacks import shared_disk

LATE_S = 60.0
MESSAGES = 200


class Hook:
    """A webhook that counts what it was sent, slowly: a kill finds a message on its way."""

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()
        texts = self.texts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                texts[body["title"]] += 1
                time.sleep(0.05)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


def machine(folder: Path, name: str, config: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "collector", "work", "--config", str(config)]
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(argv, stderr=log, stdout=log, start_new_session=True)


def holder_of(store: Store, job: str) -> int | None:
    """The process that has the job, by its number."""
    with store.read() as conn:
        row = next((row for row in rows.rows(conn, time.time_ns() // 1_000_000) if row.name == job), None)
    return int(row.holder.split()[2]) if row is not None and row.holder else None


def wait(true, what: str, seconds: float) -> float:
    begun_s = time.monotonic()
    while not true():
        assert time.monotonic() - begun_s < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)
    return time.monotonic() - begun_s


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.row(2)
def test_a_machine_that_dies_makes_nothing_late_or_double(tmp_path: Path, hook: Hook) -> None:
    with shared_disk() as disk:
        base = Postgres(disk)
        try:
            played(tmp_path, base.url, hook)
        finally:
            base.kill()


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.row(2)
def test_machines_share_the_sheets_and_one_takes_what_another_had(tmp_path: Path) -> None:
    with shared_disk() as disk:
        base = Postgres(disk)
        try:
            late_s = shared_out(tmp_path, base.url)
        finally:
            base.kill()
    print(f"what a machine had of the sheets was another's after {late_s:.1f} s")
    assert late_s < LATE_S


def shared_out(tmp_path: Path, url: str) -> float:
    data, config = tmp_path / "data", tmp_path / "collector.toml"
    data.mkdir()
    config.write_text(f'[collector]\ndata_dir = "{data}"\n[database]\nurl = "{url}"\n')
    with closing(Store.open(url)) as store:
        load_or_make(data)
        Authority(data, time.time_ns() // 1_000_000)
        machines = [machine(tmp_path, name, config) for name in ("first", "second")]
        try:
            wait(lambda: pids(store, "sheets") == {one.pid for one in machines}, "both do sheets", 180)
            os.killpg(machines[0].pid, signal.SIGKILL)
            return wait(lambda: pids(store, "sheets") == {machines[1].pid}, "one does them all", 180)
        finally:
            for one in machines:
                with suppress(ProcessLookupError):
                    os.killpg(one.pid, signal.SIGKILL)
                one.wait()


def pids(store: Store, job: str) -> set[int]:
    """Of those who have a job's shards; none while one of these is nobody's."""
    with store.read() as conn:
        row = next((row for row in rows.rows(conn, time.time_ns() // 1_000_000) if row.name == job), None)
    return {int(holder.split()[2]) for holder in row.holder.split(", ")} if row is not None and row.holder else set()


def played(tmp_path: Path, url: str, hook: Hook) -> None:
    data, config = tmp_path / "data", tmp_path / "collector.toml"
    data.mkdir()
    config.write_text(
        f'[collector]\ndata_dir = "{data}"\n[database]\nurl = "{url}"\n[alerts]\nevery_s = 0.5\n'
        f'[[alerts.channels]]\nname = "desk"\nurl = "json://127.0.0.1:{hook.server.server_port}/"\nlanguages = ["en"]\n'
    )
    with closing(Store.open(url)) as store:
        load_or_make(data)
        now_ms = time.time_ns() // 1_000_000
        Authority(data, now_ms)
        message = {"kind": "test", "center": "", "channel": "desk", "text": "x", "state": "waiting", "attempts": 0}
        made = {"next_ms": now_ms, "made_ms": now_ms}
        with store.write() as conn:
            conn.execute(sa.insert(schema.alerts), [message | made | {"title": f"m{n}"} for n in range(MESSAGES)])
        machines = {name: machine(tmp_path, name, config) for name in ("first", "second")}
        late_s = []
        try:
            for _ in range(3):
                wait(lambda: holder_of(store, "alerts") is not None, "a machine takes the messages", 120)
                victim = next(name for name, one in machines.items() if one.pid == holder_of(store, "alerts"))
                already = sum(hook.texts.values())
                wait(lambda before=already: sum(hook.texts.values()) > before, "messages go", 120)
                os.killpg(machines[victim].pid, signal.SIGKILL)
                machines[victim].wait()
                already = sum(hook.texts.values())
                late_s.append(wait(lambda before=already: sum(hook.texts.values()) > before, "another goes on", 120))
                machines[victim] = machine(tmp_path, victim, config)
            wait(lambda: states(store).keys() <= {"sent", "unsure"}, "all are sent", 120)
        finally:
            for one in machines.values():
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()
        found = states(store)
    print(
        "late by",
        [round(item, 1) for item in late_s],
        "s;",
        found,
        "twice",
        [m for m, n in hook.texts.items() if n > 1],
    )
    assert max(late_s) < LATE_S
    assert max(hook.texts.values()) == 1, "nothing is sent twice"
    assert len(hook.texts) >= found["sent"]
    assert found.get("unsure", 0) <= 3, "one a kill"


def states(store: Store) -> dict[str, int]:
    with store.read() as conn:
        query = sa.select(schema.alerts.c.state, sa.func.count()).group_by(schema.alerts.c.state)
        return {str(state): count for state, count in conn.execute(query)}
