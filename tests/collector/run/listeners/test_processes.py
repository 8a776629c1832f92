"""Pages in a process of their own: what is noted to it is shown, and it is started again when it dies or hangs, at an
address that stays bound meanwhile."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from collector.access.accounts import api_keys
from collector.access.ca import Authority
from collector.access.signing_key import load_or_make
from collector.common.scope import EVERYWHERE
from collector.register import centers
from collector.run.listeners.child import SILENT_S, ListenerProcess, Relay
from collector.run.listeners.sockets import bind
from collector.store import Store
from collector.web.health import Health, Needed, Watched
from tests.helpers.collector_side import ROW
from tests.helpers.ports import free_ports
from tests.helpers.waiting import PATIENCE_S, wait_until


class Pages:
    """`serve`'s side, without its other parts. `shift_s`: its clock goes so far ahead."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        (self.port,) = free_ports(1)
        self.store = Store.open(f"sqlite:///{folder / 'nabz.db'}")
        stack.callback(self.store.close)
        load_or_make(folder)
        now_ms = time.time_ns() // 1_000_000
        Authority(folder, now_ms)
        with self.store.write() as conn:
            centers.add(conn, {"center": "LHR-1", **ROW}, now_ms)
            self.key = api_keys.add(conn, "test", "auditor", EVERYWHERE, 1, "Ali", now_ms)
        config = folder / "collector.toml"
        config.write_text(f'[collector]\ndata_dir = "{folder}"\n[web]\nlisten = "127.0.0.1:{self.port}"\n')
        self.shift_s, self.sweep_age_s, self.has_broker = 0.0, 1.0, True
        health = Health([Watched("sweep", 60.0, lambda: self.sweep_age_s)], [Needed("broker", lambda: self.has_broker)])
        self.relay, self.notes = Relay(health), []
        place = stack.enter_context(bind(f"127.0.0.1:{self.port}", "[web] listen"))
        self.child = ListenerProcess(
            "pages", ["--config", str(config)], place, self.notes.append, lambda: time.monotonic() + self.shift_s
        )
        stack.callback(self.child.stop)
        self.child.start()
        self.relay.listeners = [self.child]

    def request(self, path: str) -> urllib.request.Request:
        return urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {self.key}"}
        )

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """A process that is being started does not answer yet, but nothing is refused."""
        self.relay.tick()
        try:
            with urllib.request.urlopen(self.request(path), timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    with ExitStack() as stack:
        yield Pages(tmp_path, stack)


def test_pages_live_and_die_beside_the_collector(pages: Pages) -> None:
    assert pages.get("/healthz")[0] == 200
    pages.sweep_age_s, pages.has_broker = 99.0, False
    pages.relay.tick()
    wait_until(lambda: pages.get("/healthz")[1]["late"].keys() == {"sweep"})
    assert pages.get("/readyz")[1]["missing"] == ["broker"]

    with urllib.request.urlopen(pages.request("/api/v1/live"), timeout=PATIENCE_S) as stream:
        news: list[bytes] = []
        reader = threading.Thread(target=lambda: news.extend(iter(stream.readline, b"")), daemon=True)
        reader.start()
        wait_until(lambda: any(b"event: beat" in line for line in news))
        pages.relay.publish(["LHR-1"])
        pages.relay.tick()
        wait_until(lambda: any(b'"heard":{"LHR-1"' in line for line in news))
        first = pages.child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        reader.join(PATIENCE_S)

    def is_again(before: int) -> bool:
        pages.child.tend()
        return pages.child.pid != before

    wait_until(lambda: is_again(first))
    assert pages.get("/healthz")[0] == 503, "it answers as before, and knows as much"
    second = pages.child.pid
    assert second is not None
    wait_until(lambda: len(pages.notes) > 1)
    os.kill(second, signal.SIGSTOP)
    pages.child.tend()
    assert pages.child.pid == second
    pages.shift_s = SILENT_S + 30
    wait_until(lambda: is_again(second))
    pages.child.stop()
    assert not Path(f"/proc/{pages.child.pid}").exists()
