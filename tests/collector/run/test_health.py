"""`/healthz`, `/readyz` and SIGHUP of a running collector."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import collector
from collector.access.tls import TlsError
from collector.common.config import Settings
from collector.run import resources
from collector.run.reload import Reload
from collector.web.health import Health, Needed, Watched
from tests.helpers.ports import free_ports

PATIENCE_S = 60.0
SOURCE = Path(collector.__file__).parents[1]  # the code that this test is of, where a bug is planted too


class Served:
    """A collector that should commit something every second or two."""

    def __init__(self, folder: Path, *limits: str) -> None:
        """`limits` are of prlimit(1)."""
        self.web, measure, self.broker = free_ports(3)
        self.config, self.log = folder / "collector.toml", folder / "log"
        self.settings = (
            f'[collector]\ndata_dir = "{folder / "data"}"\n'
            f'[web]\nlisten = "127.0.0.1:{self.web}"\nhealthy_within_s = 1.0\n'
            f'[measure]\nlisten = "127.0.0.1:{measure}"\n[sweep]\nevery_s = 0.5\n'
            f'[broker]\nlisten = "127.0.0.1:{self.broker}"\n'
        )
        self.config.write_text(self.settings)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*(("prlimit", *limits) if limits else ()), sys.executable, "-m", "collector", "serve", "--config",
                 str(self.config), "--log-format", "json"],
                stderr=log, start_new_session=True, cwd=SOURCE,
            )  # fmt: skip

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web}{path}", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, {}

    def until(self, true: Callable[[], bool]) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end_s, self.log.read_text()[-2000:]
            time.sleep(0.1)

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == name]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    try:
        made.until(lambda: made.get("/readyz")[0] == 200)
        yield made
    finally:
        made.stop()


def test_a_part_is_late_after_its_time_and_what_is_needed_is_named() -> None:
    ages = {"sweep": 9.9, "ingest": 10.1}
    watched = [Watched(part, 10.0, lambda part=part: ages[part]) for part in ages]  # type: ignore[misc]
    health = Health(watched, [Needed("broker", lambda: False), Needed("database", lambda: True)])
    assert health.late() == {"ingest": 10.1}
    assert health.missing() == ["broker"]


@contextmanager
def full(pid: int) -> Iterator[None]:
    """No file of the process may grow, nor be written beyond its first byte: what a full disk does to SQLite."""
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, limits[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def read_only(pid: int) -> Iterator[None]:
    """Every write to a file of the process fails as on a file system that was remounted."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    calls = "pwrite64,ftruncate,fdatasync,fsync"
    words = [strace, "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}", "-e", f"inject={calls}:error=EROFS"]
    with subprocess.Popen([*words, "-p", str(pid)]) as tracer:
        yield
        tracer.send_signal(signal.SIGINT)


@pytest.mark.parametrize("fault", [full, pytest.param(read_only, marks=[pytest.mark.root, pytest.mark.slow])])
@pytest.mark.row(56)
def test_a_disk_that_takes_nothing_more_is_not_healthy_until_it_does_again(
    served: Served, fault: Callable[[int], AbstractContextManager[None]]
) -> None:
    served.until(lambda: served.get("/healthz")[0] == 200)
    with fault(served.process.pid):
        served.until(lambda: "sweep" in served.get("/healthz")[1].get("late", {}))
        assert served.get("/healthz")[0] == 503
        assert served.get("/readyz")[0] == 200, "it still has its broker, and the database can be read"
    served.until(lambda: served.get("/healthz")[0] == 200)


def test_without_its_broker_it_is_healthy_but_not_ready(tmp_path: Path) -> None:
    made = Served(tmp_path)
    try:
        made.until(lambda: made.get("/readyz")[0] == 200)
    finally:
        made.stop()
    closed = free_ports(1)[0]
    made.config.write_text(made.settings + f'url = "mqtt://127.0.0.1:{closed}"\n')
    with made.log.open("wb") as log:
        words = [sys.executable, "-m", "collector", "serve", "--config", str(made.config)]
        made.process = subprocess.Popen(words, stderr=log, start_new_session=True)
    try:
        made.until(lambda: made.get("/readyz")[0] == 503)
        assert made.get("/readyz")[1]["missing"] == ["broker"]
        assert made.get("/healthz")[0] == 200
    finally:
        made.stop()


@pytest.mark.row(62)
def test_a_hangup_takes_new_channels_and_refuses_a_file_with_a_mistake(served: Served) -> None:
    served.config.write_text(served.settings + "[alerts]\nevery_s = -1\n")
    served.process.send_signal(signal.SIGHUP)
    served.until(lambda: bool(served.events("settings_refused")))
    assert "[alerts] every_s" in str(served.events("settings_refused")[0])
    channel = '[alerts]\nevery_s = 7.0\n[[alerts.channels]]\nname = "desk"\nurl = "json://127.0.0.1:9/"\n'
    served.config.write_text(served.settings + channel)
    served.process.send_signal(signal.SIGHUP)
    served.until(lambda: bool(served.events("settings_reloaded")))
    (line,) = (event["fields"] for event in served.events("settings_reloaded"))
    assert (line["changed"], line["restart"]) == ("[alerts] every_s, [alerts] channels", "[alerts] every_s")
    assert served.process.poll() is None


CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test"  # MQTT 3.1.1, section 3.1
CONNACK = b"\x20\x02\x00\x00"


def mqtt_answer(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(CONNECT)
        return sock.recv(4)


@pytest.mark.row(57)
def test_with_few_descriptors_pages_give_way_and_gateways_do_not(tmp_path: Path) -> None:
    visited(tmp_path, "--nofile=64")


@pytest.mark.row(58)
def test_with_little_address_space_pages_give_way_and_gateways_do_not(tmp_path: Path) -> None:
    visited(tmp_path, "--as=629145600")


def visited(tmp_path: Path, limit: str) -> None:
    """By more than there is room for, each from an address of its own, while gateways come, too."""
    served = Served(tmp_path, limit)
    try:
        served.until(lambda: served.get("/readyz")[0] == 200)
        with ExitStack() as visitors:
            for number in range(200):
                source = (f"127.0.3.{number + 1}", 0)
                with suppress(OSError):
                    visitor = socket.create_connection(("127.0.0.1", served.web), 10, source)
                    visitors.enter_context(visitor)
                    visitor.sendall(b"GET /healthz HTTP/1.1\r\n")  # and no more comes
            for _ in range(20):
                assert mqtt_answer(served.broker) == CONNACK
        served.until(lambda: served.get("/healthz")[0] == 200)
        lines = served.log.read_text().splitlines()
        assert len(lines) < 60
        assert [line for line in lines if "descriptors_exhausted" in line] == [], "pages had more than their part"
    finally:
        served.stop()


def test_a_listener_of_pages_has_the_smaller_part_of_few_descriptors() -> None:
    assert [resources.connections(1024, allowed) for allowed in (20, 64, 1024, 65_536)] == [1, 3, 123, 1024]


def test_a_certificate_that_cannot_be_used_ends_nothing_and_hides_no_settings() -> None:
    shown: list[str] = []
    applied: list[Settings] = []

    def broken() -> None:
        raise TlsError("ca.pem: cannot be used; put the right one there")

    settings = Settings()
    Reload(settings, lambda: settings, applied.append, [broken, lambda: shown.append("other")])()
    assert (shown, applied) == (["other"], [settings])
