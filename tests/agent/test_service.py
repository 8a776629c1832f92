"""The whole agent as a process: it measures with and without a broker, tells systemd, and stops clean."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import wire
from agent.__main__ import main
from agent.identity import Identity, seat_key
from agent.probes.seats.registry import Registry
from agent.seat.post import check_gateway, post
from agent.seat.snapshot import Snapshot
from tests.helpers.ports import free_ports
from tests.helpers.waiting import wait_until


class Agent:
    """`nabz-agent run` in a process of its own."""

    def __init__(
        self, folder: Path, port: int, *, seats: str = "enabled = false", cycle_s: float = 0.3, **environment: str
    ) -> None:
        self.settings = folder / "agent.toml"
        self.page = f"http://127.0.0.1:{port}/status.json"
        self.settings.write_text(
            f'[agent]\nstate_dir = "{folder}/state"\ncycle_s = {cycle_s}\nstatus_listen = "127.0.0.1:{port}"\n'
            '[link]\ntarget = "127.0.0.1"\nprobes = 3\ninterval_ms = 20\nisp_hops = 0\ntimeout_s = 0.5\nlookup = ""\n'
            f"[speed]\nenabled = false\n[seats]\n{seats}\n"
        )
        self.log = folder / "agent.log"
        words = [sys.executable, "-m", "agent", "run", "--config", str(self.settings)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(words, stderr=log, env=os.environ | environment)

    def waiting(self) -> int:
        """Readings in its spool; -1 while it has no page yet."""
        try:
            return int(str(self.status()["spool_readings"]))
        except OSError:
            return -1

    def status(self) -> dict[str, object]:
        with urllib.request.urlopen(self.page, timeout=2) as answer:
            return dict(json.loads(answer.read()))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    started: list[Agent] = []
    yield started
    for agent in started:
        if agent.process.poll() is None:
            agent.process.kill()
            agent.process.wait()


def held_kinds(collector) -> list[str]:
    return [str(wire.decode_reading(raw).__struct_config__.tag) for raw in list(collector.held.values())]


def test_it_says_what_ended_the_last_run_then_measures_and_delivers(
    tmp_path: Path, free_port: int, enrolled: Identity, little_collector, agents: list[Agent]
) -> None:
    agents.append(Agent(tmp_path, free_port))
    wait_until(lambda: held_kinds(little_collector).count("gateway") >= 3)
    assert agents[0].status()["uplink"] == "connected"
    assert agents[0].stop() == 0
    agents.append(Agent(tmp_path, free_port))
    wait_until(lambda: held_kinds(little_collector).count("boot") == 2)
    assert agents[1].stop(signal.SIGKILL) == -signal.SIGKILL
    agents.append(Agent(tmp_path, free_port))
    wait_until(lambda: held_kinds(little_collector).count("boot") == 3)
    agents[2].stop()
    readings = [wire.decode_reading(raw) for _number, raw in sorted(little_collector.held.items())]
    boots = [reading for reading in readings if isinstance(reading, wire.BootReading)]
    assert [boot.previous_end for boot in boots] == ["first", "clean", "killed"]
    # One spool, no number missing: nothing was lost over the kill.
    assert len({spool for spool, _number in little_collector.held}) == 1
    numbers = sorted(number for _spool, number in little_collector.held)
    assert numbers == list(range(1, len(numbers) + 1))
    assert isinstance(readings[0], wire.BootReading)
    assert {"link", "gateway", "boot"} <= set(held_kinds(little_collector))


def test_with_the_broker_down_it_measures_and_keeps(
    tmp_path: Path, mortal_broker, enrolled_at_mortal_broker, free_port: int, agents: list[Agent]
) -> None:
    _mine, collector = enrolled_at_mortal_broker
    mortal_broker.kill()
    agents.append(Agent(tmp_path, free_port))
    wait_until(lambda: agents[0].log.read_text().count("broker_session_ended") >= 1)
    wait_until(lambda: agents[0].waiting() >= 7, look_s=0.5)  # the page limits its askers
    mortal_broker.start()
    wait_until(lambda: held_kinds(collector).count("gateway") >= 3)
    wait_until(lambda: len(collector.held) == max(number for _spool, number in collector.held))
    agents[0].stop()


def test_systemd_is_told_that_it_is_ready_alive_and_stopping(
    tmp_path: Path, free_port: int, enrolled: Identity, agents: list[Agent]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        agents.append(Agent(tmp_path, free_port, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000"))
        messages = [systemd.recv(100) for _ in range(4)]
        agents[0].stop()
        systemd.settimeout(60)
        while messages[-1] != b"STOPPING=1":
            messages.append(systemd.recv(100))
    assert sorted(set(messages)) == [b"READY=1", b"STOPPING=1", b"WATCHDOG=1"]


def test_the_good_byes_of_an_evening_outlive_a_gateway_that_goes_off_with_its_seats(
    tmp_path: Path, enrolled: Identity, little_collector, agents: list[Agent]
) -> None:
    page, listener = free_ports(2)
    agents.append(Agent(tmp_path, page, seats=f'listen = "127.0.0.1:{listener}"', cycle_s=300))
    wait_until(lambda: "seats" in held_kinds(little_collector))  # the next call is minutes away
    goodbye = Snapshot(
        id="s0123456789abcdef", name="SEAT-01", at_ms=time.time_ns() // 1_000_000, nonce="0" * 32, state="stopping",
        facts=("mac:0123456789abcdef",),
    )  # fmt: skip
    assert post(goodbye, check_gateway(f"http://127.0.0.1:{listener}"), seat_key(tmp_path / "state")).ok
    assert agents[0].stop() == 0
    (seat,) = Registry(tmp_path / "state").seats.values()
    assert seat.said_goodbye


def test_a_gateway_not_enrolled_is_told_the_command_and_exits_2(tmp_path: Path, capsys) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\n')
    assert main(["run", "--config", str(settings)]) == 2
    assert "run `nabz-agent enrol URL`" in capsys.readouterr().err


def test_wrong_settings_exit_2_with_every_mistake(tmp_path: Path, capsys) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text('[agent]\ncycle_s = "x"\n[spool]\nmax = 1\n')
    assert main(["run", "--config", str(settings)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_second_agent_on_the_same_state_does_not_start(
    tmp_path: Path, free_port: int, enrolled: Identity, agents: list[Agent], capsys
) -> None:
    agents.append(Agent(tmp_path, free_port))
    wait_until(lambda: (tmp_path / "state" / "spool.db").exists())
    assert main(["run", "--config", str(agents[0].settings)]) == 1
    assert "another nabz-agent works here" in capsys.readouterr().err


def test_a_status_port_that_is_taken_does_not_stop_the_measuring(
    tmp_path: Path, enrolled: Identity, little_collector, agents: list[Agent]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        agents.append(Agent(tmp_path, taken.getsockname()[1]))
        wait_until(lambda: held_kinds(little_collector).count("gateway") >= 2)
        assert "listen_failed" in agents[0].log.read_text()
