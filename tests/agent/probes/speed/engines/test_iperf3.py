"""iperf3 as a subprocess: a real server, read strictly, bounded, and each failure named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.probes.probe import ProbeFailed
from agent.probes.speed.engine import SpeedRequest
from agent.probes.speed.engines.iperf3 import measure, parse_output, place
from tests.helpers.processes import child

SAID: dict[str, Any] = {
    "start": {"version": "iperf 3.12"},
    "end": {
        "sum_sent": {"bits_per_second": 21e6, "bytes": 9_000_000},
        "sum_received": {"bits_per_second": 20e6, "bytes": 8_000_000},
        "streams": [{"sender": {"mean_rtt": 40_000}}, {"sender": {"mean_rtt": 60_000}}],
    },
}


@pytest.fixture
def server(free_port: int) -> Iterator[str]:
    if shutil.which("iperf3") is None and not os.environ.get("CI"):
        pytest.skip("iperf3 is not installed (tests/packages.txt)")
    words = ["iperf3", "--server", "--bind", "127.0.0.1", "--port", str(free_port), "--forceflush"]
    with child(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("listening" in line for line in process.stdout)  # one that only knocks would upset it
        yield f"iperf3://127.0.0.1:{free_port}"
        process.kill()


def failed(given: SpeedRequest, program: str = "iperf3") -> ProbeFailed:
    with pytest.raises(ProbeFailed) as caught:
        measure(given, program)
    return caught.value


def test_a_real_server_is_measured_both_ways(server: str) -> None:
    found = measure(SpeedRequest(server=server, mode="quick", deadline_s=30))
    assert found.download_mbps is not None
    assert found.upload_mbps is not None
    assert min(found.download_mbps, found.upload_mbps) > 10
    assert (found.engine, found.server, found.mode, found.tls) == ("iperf3", server, "quick", False)
    assert found.engine_version.startswith("3.")
    assert (found.bytes_total or 0) > 1_000_000
    assert 8 <= (found.seconds or 0) < 15
    assert found.loaded_rtt_up_ms is not None  # our own kernel tells it
    assert (found.capacity_down_mbps, found.idle_rtt_ms, found.loss_pct) == (None, None, None)


def test_its_figures_are_what_arrived_and_become_our_units() -> None:
    found = parse_output(json.dumps(SAID))
    assert (found.version, found.mbps, found.bytes, found.rtt_ms) == ("3.12", 20.0, 8_000_000, 50.0)


def test_a_round_trip_that_no_kernel_told_is_unknown() -> None:
    end = SAID["end"] | {"streams": [{"sender": {"mean_rtt": 0}}]}
    assert parse_output(json.dumps(SAID | {"end": end})).rtt_ms is None


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("", "bad_output"),
        ("iperf3: parameter error", "bad_output"),
        (json.dumps({"start": {}, "end": {}}), "bad_output"),
        (json.dumps({"end": {"sum_received": {"bits_per_second": -1.0}}}), "bad_output"),
        (json.dumps({"error": "error - the server is busy running a test. try again later"}), "busy"),
        (json.dumps({"error": "unable to connect to server: Connection refused"}), "unreachable"),
        (json.dumps({"error": "received an unknown control message"}), "not_a_speed_server"),
        (json.dumps({"end": {"sum_received": {"bits_per_second": 0.0, "bytes": 0}}}), "stalled"),
        (json.dumps({"error": "control socket has closed unexpectedly"}), "failed"),
    ],
)
def test_what_is_no_result_says_why(output: str, cause: str) -> None:
    with pytest.raises(ProbeFailed) as caught:
        parse_output(output)
    assert caught.value.cause == cause


def test_a_machine_without_the_program_is_told_what_to_install(tmp_path: Path) -> None:
    failure = failed(SpeedRequest(server="iperf3://127.0.0.1"), str(tmp_path / "iperf3"))
    assert failure.cause == "no_iperf3"
    assert "apt install iperf3" in failure.detail


def test_a_server_that_is_not_there_is_unreachable(free_port: int) -> None:
    assert failed(SpeedRequest(server=f"iperf3://127.0.0.1:{free_port}", mode="quick")).cause == "unreachable"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("speed.example", ("speed.example", 5201)),
        ("iperf3://speed.example:5299", ("speed.example", 5299)),
        ("iperf3://[2001:db8::1]:5299", ("2001:db8::1", 5299)),
        ("http://speed.example:8474", ("speed.example", 5201)),  # the port of another service
    ],
)
def test_the_server_is_a_host_and_perhaps_a_port(given: str, found: tuple[str, int]) -> None:
    assert place(given) == found


@pytest.mark.parametrize("given", ["", "iperf3://", "iperf3://x:99999", "iperf3://--server"])
def test_what_is_no_host_is_refused_and_never_becomes_an_option(given: str) -> None:
    with pytest.raises(ProbeFailed) as caught:
        place(given)
    assert caught.value.cause == "bad_server"


def program(tmp_path: Path, script: str) -> str:
    path = tmp_path / "iperf3"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_its_deadline_is_ours(tmp_path: Path) -> None:
    started = time.monotonic()
    given = SpeedRequest(server="iperf3://127.0.0.1", deadline_s=1.0)
    assert failed(given, program(tmp_path, "exec sleep 300")).cause == "timeout"
    assert time.monotonic() - started < 60


def test_it_is_stopped_when_the_agent_stops(tmp_path: Path) -> None:
    given = SpeedRequest(server="iperf3://127.0.0.1")
    threading.Timer(0.5, given.stop.set).start()
    started = time.monotonic()
    assert failed(given, program(tmp_path, "exec sleep 300")).cause == "stopped"
    assert time.monotonic() - started < 30  # its deadline is a minute


def test_a_program_that_does_not_stop_talking_is_silenced(tmp_path: Path) -> None:
    failure = failed(SpeedRequest(server="iperf3://127.0.0.1", deadline_s=20), program(tmp_path, "exec yes"))
    assert failure.cause == "bad_output"
    assert "more than" in failure.detail


def test_a_server_between_two_tests_is_asked_once_more(tmp_path: Path) -> None:
    """It answers the first time, is away for the second, and is there again."""
    (tmp_path / "said.json").write_text(json.dumps(SAID))
    refused = json.dumps({"error": "unable to connect to server: Connection refused"})
    script = f"""echo x >> {tmp_path}/runs
case $(wc -l < {tmp_path}/runs) in 2) echo '{refused}';; *) cat {tmp_path}/said.json;; esac"""
    found = measure(SpeedRequest(server="iperf3://127.0.0.1"), program(tmp_path, script))
    assert (found.download_mbps, found.upload_mbps) == (20.0, 20.0)
    assert (tmp_path / "runs").read_text().count("x") == 3


def test_a_program_that_says_nothing_is_a_failure_with_its_code(tmp_path: Path) -> None:
    failure = failed(SpeedRequest(server="iperf3://127.0.0.1"), program(tmp_path, "echo no such luck >&2; exit 3"))
    assert (failure.cause, "ended with 3: no such luck" in failure.detail) == ("failed", True)
