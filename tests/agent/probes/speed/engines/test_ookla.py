"""speedtest-cli as a subprocess: bounded, pointed at our server, read strictly."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from agent.probes.probe import ProbeFailed
from agent.probes.speed.engine import SpeedRequest
from agent.probes.speed.engines import ookla
from agent.probes.speed.engines.ookla import measure, parse_output

SAID: dict[str, Any] = {
    "download": 19_000_000.5,
    "upload": 4_900_000.0,
    "ping": 31.2,
    "bytes_sent": 6_000_000,
    "bytes_received": 24_000_000,
    "server": {"url": "http://10.0.0.1:8474/speedtest/upload.php", "id": "1"},
    "client": {"ip": "10.0.0.2"},
    "share": None,
}


def test_its_bits_bytes_and_milliseconds_become_ours() -> None:
    found = parse_output(json.dumps(SAID), "quick", 21.5)
    assert (found.download_mbps, found.upload_mbps) == (19.0, 4.9)
    assert (found.idle_rtt_ms, found.bytes_total, found.seconds) == (31.2, 30_000_000, 21.5)
    assert (found.engine, found.engine_version) == ("ookla", "2.1.3")
    assert found.server == "http://10.0.0.1:8474/speedtest/upload.php"
    # What it does not measure is unknown.
    assert (found.capacity_down_mbps, found.loaded_rtt_up_ms, found.jitter_ms) == (None, None, None)


def test_its_way_of_saying_no_ping_is_unknown() -> None:
    assert parse_output(json.dumps(SAID | {"ping": 1_800_000.0}), "quick", 1).idle_rtt_ms is None


@pytest.mark.parametrize("output", ["", "Cannot open socket", "{}", json.dumps(SAID | {"download": "fast"})])
def test_an_answer_that_is_not_its_json_is_refused(output: str) -> None:
    with pytest.raises(ProbeFailed) as caught:
        parse_output(output, "quick", 1)
    assert caught.value.cause == "bad_output"


@pytest.mark.parametrize("nothing", [{"download": 0.0}, {"upload": 0.0}, {"bytes_received": 0}])
def test_its_zeros_are_no_figures(nothing: dict[str, Any]) -> None:
    """It reports 0 bit/s where no request of a direction ended well."""
    with pytest.raises(ProbeFailed) as caught:
        parse_output(json.dumps(SAID | nothing), "quick", 1)
    assert caught.value.cause == "interrupted"


@pytest.mark.parametrize(
    ("errors", "cause"),
    [
        ("ERROR: <urlopen error [Errno -3] Temporary failure in name resolution>", "dns"),
        ("NameError: name 'ExpatError' is not defined", "not_a_speed_server"),
        ("ERROR: Malformed speedtest.net configuration: no element found: line 1, column 0", "not_a_speed_server"),
        ("ERROR: HTTP Error 511: Network Authentication Required", "not_a_speed_server"),
        ("<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate>", "certificate"),
        ("ERROR: <urlopen error [Errno 111] Connection refused>", "unreachable"),
    ],
)
def test_its_errors_are_told_apart(errors: str, cause: str) -> None:
    assert ookla.failure(errors, "http://10.0.0.1").cause == cause


@pytest.fixture
def deaf_server() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        yield f"http://127.0.0.1:{deaf.getsockname()[1]}"


def failed(given: SpeedRequest) -> ProbeFailed:
    with pytest.raises(ProbeFailed) as caught:
        measure(given)
    return caught.value


def test_a_server_that_is_not_there_is_unreachable(free_port: int) -> None:
    failure = failed(SpeedRequest(server=f"http://127.0.0.1:{free_port}"))
    assert failure.cause == "unreachable"
    assert f"127.0.0.1:{free_port}" in failure.detail


def test_a_server_it_cannot_speak_to_is_refused_before_it_starts() -> None:
    assert failed(SpeedRequest(server="https://speed.example")).cause == "bad_server"
    assert failed(SpeedRequest(server="speed.example")).cause == "bad_server"


def test_its_deadline_is_ours(deaf_server: str) -> None:
    started = time.monotonic()
    assert failed(SpeedRequest(server=deaf_server, deadline_s=1.5)).cause == "timeout"
    assert time.monotonic() - started < 30


def test_it_is_stopped_when_the_agent_stops(deaf_server: str) -> None:
    given = replace(SpeedRequest(server=deaf_server), stop=threading.Event())
    threading.Timer(1.0, given.stop.set).start()
    started = time.monotonic()
    assert failed(given).cause == "stopped"
    assert time.monotonic() - started < 30  # its deadline is a minute
