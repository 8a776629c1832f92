"""`make run` as a newcomer sees it: one command, a link, real readings, a clean stop, and all of it there next time."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import psutil
import pytest

from collector.commands.pilot import PORTS, write_settings
from collector.run.pilot import PilotProcess
from tests.helpers.ports import free_ports
from tests.helpers.waiting import wait_until

PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+")
LINK = re.compile(r"(http://\S+)/login(?:#token=(\S+))?")


def latest(center: dict[str, object]) -> dict[str, object]:
    """The newest readings, by ``kind/subject``."""
    found = center["latest"]
    assert isinstance(found, dict)
    return found


def kinds(center: dict[str, object]) -> set[str]:
    return {name.partition("/")[0] for name in latest(center)}


def settle(data: Path) -> None:
    """The settings as the command writes them, on ports that another run beside this one is not given too."""
    if data.exists():
        return
    write_settings(data)
    texts = {path: path.read_text() for path in data.glob("*.toml")}
    usual = sorted({port for text in texts.values() for port in PORT.findall(text)})
    ports = dict(zip(usual, free_ports(len(usual)), strict=True))
    for path, text in texts.items():
        path.write_text(PORT.sub(lambda found: str(ports[found[0]]), text))


class Pilot:
    """One run of the command, its log gathered as it comes."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        settle(folder / "data")
        argv = [sys.executable, "-m", "collector", "pilot", "--data", str(folder / "data")]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.web = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line)

    def log_in(self, address: str, token: str | None) -> None:
        """As the page that the link opens does: the first time it makes the account."""
        form = {"token": token or "", "name": "Amna", "password": "a password of this test"}
        self.web.open(
            f"{address}/login{'/first' if token else ''}", urllib.parse.urlencode(form).encode(), timeout=60
        ).close()

    def link(self, seconds: float = 90) -> tuple[str, str | None]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for line in list(self.lines):
                if found := LINK.search(line):
                    return found[1], found[2]
            assert self.process.poll() is None, "".join(self.lines)
            time.sleep(0.1)
        raise AssertionError("no link within the time\n" + "".join(self.lines))

    def center(self, address: str) -> dict[str, object]:
        with self.web.open(f"{address}/api/v1/centers/PILOT", timeout=60) as answer:
            return dict(json.load(answer))

    def wait_for_kinds(self, address: str, wanted: set[str], seconds: float = 60) -> dict[str, object]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            center = self.center(address)
            if wanted <= kinds(center):
                return center
            time.sleep(0.5)
        raise AssertionError(f"{wanted} did not all come\n" + "".join(self.lines[-40:]))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self.reader.join(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def pilots() -> Iterator[list[Pilot]]:
    started: list[Pilot] = []
    yield started
    for pilot in started:
        if pilot.process.poll() is None:
            pilot.stop()


def test_one_command_measures_this_machine_stops_cleanly_and_goes_on_next_time(
    tmp_path: Path, pilots: list[Pilot]
) -> None:
    first = Pilot(tmp_path)
    pilots.append(first)
    address, token = first.link()
    # Without the token nothing is shown.
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/api/v1/centers/PILOT", timeout=60)
    assert refused.value.code in (401, 403)
    refused.value.close()
    first.log_in(address, token)
    # Real readings of every kind this machine has, within the promised minute.
    center = first.wait_for_kinds(address, {"link", "speed", "seats", "gateway", "boot"})
    # The test against ourselves says that it is one.
    assert "self-test" in json.dumps([value for name, value in latest(center).items() if name.startswith("speed")])
    children = first.descendants()
    assert len(children) >= 4
    # Ctrl-C ends every process.
    assert first.stop() == 0
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive

    second = Pilot(tmp_path)
    pilots.append(second)
    again, token = second.link()
    assert token is None  # the link has been used
    second.log_in(again, token)
    # The same address, the same gateway, and what was there before is there still.
    assert again == address
    assert {"link", "speed"} <= kinds(second.center(again))
    assert second.stop() == 0


def test_ports_that_are_taken_are_avoided(tmp_path: Path) -> None:

    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else holds it: all the better
            taken.bind(("127.0.0.1", PORTS["web"]))
        write_settings(tmp_path)
    assert f':{PORTS["web"]}"' not in (tmp_path / "collector.toml").read_text()


# ---------------------------------------------------------------- one of its processes

TALKER = """
import signal, sys, time
def end(*_):
    for number in range(300):
        print("last words", number, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
while True:
    time.sleep(60)
"""


def test_the_last_words_of_a_process_are_said_before_it_counts_as_stopped() -> None:
    lines: list[str] = []

    def say(_name: str, line: str) -> None:
        time.sleep(0.002)  # slower than they come
        lines.append(line)

    process = PilotProcess("talker", [sys.executable, "-c", TALKER])
    process.start(say)
    wait_until(lambda: lines)
    process.stop()
    assert lines == ["begun", *(f"last words {number}" for number in range(300))]


def test_a_process_goes_on_when_nobody_reads_its_words() -> None:
    """As in `nabz-collector pilot | head`: it must neither block at a full pipe nor be killed by a closed one."""
    script = "for number in range(20000): print('a word', number, flush=True)"
    heard: list[str] = []

    def say(_name: str, line: str) -> None:
        heard.append(line)
        raise BrokenPipeError

    process = PilotProcess("talker", [sys.executable, "-c", script])
    process.start(say)
    wait_until(lambda: process.ended() is not None)
    assert process.ended() == 0
    process.stop()
    assert len(heard) == 20_000
