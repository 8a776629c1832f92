"""Incidents in a real Alertmanager of Debian: it takes them, they fire, and they end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.desk.alerts.channel import AlertMessage, SendFailed
from collector.desk.alerts.channels import schemes
from collector.desk.alerts.channels.alertmanager import alerts_of
from tests.helpers.ports import free_port
from tests.helpers.waiting import wait_until

PROGRAM = shutil.which("prometheus-alertmanager")
CONFIG = """
route: {receiver: nobody, group_wait: 1s}
receivers: [{name: nobody}]
"""


def facts(act: str, severity: str = "serious", number: int = 7, **incident: object) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    known = {
        "id": number, "scope": "feeder", "place": "LESCO F-7", "family": "power", "state": "new", "severity": severity,
        "owner": "", "began_ms": now_ms - 600_000, "resolved_ms": None, "cause": {"name": "mains_cut"},
        "url": "http://x/incidents/7", **incident,
    }  # fmt: skip
    return {"act": act, "at_ms": now_ms, "incident": known, "flag": None, "centers": {"count": 12}}


def message(act: str, **more: Any) -> AlertMessage:
    return AlertMessage("F-7: 12 centers", "since 10:00", facts=json.dumps(facts(act, **more)))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if PROGRAM is None:
        assert "CI" not in os.environ, "prometheus-alertmanager is to be installed"
        pytest.skip("prometheus-alertmanager is not installed; see tests/packages.sh")
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    (folder / "config.yml").write_text(CONFIG)
    port = free_port()
    words = [
        PROGRAM, f"--config.file={folder}/config.yml", f"--storage.path={folder}/data", "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(words)
    try:
        wait_until(lambda: _get(f"http://127.0.0.1:{port}/-/ready") is not None)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bytes(answer.read())
    except OSError:
        return None


def firing(address: str) -> list[tuple[str, str, str]]:
    found = json.loads(_get(f"{address}/api/v2/alerts?active=true") or b"[]")
    return sorted((one["labels"]["incident"], one["labels"]["severity"], one["labels"]["place"]) for one in found)


def test_an_incident_fires_gets_worse_and_ends(address: str) -> None:
    channel = schemes.make("am", f"alertmanager+{address}")
    channel.send(message("opened"))
    wait_until(lambda: firing(address) == [("7", "serious", "LESCO F-7")])
    (one,) = json.loads(_get(f"{address}/api/v2/alerts?active=true") or b"[]")
    assert one["annotations"] == {"summary": "F-7: 12 centers", "description": "since 10:00", "cause": "mains_cut"}
    assert one["generatorURL"] == "http://x/incidents/7"
    time.sleep(0.01)
    channel.send(message("worse", severity="urgent"))
    wait_until(lambda: firing(address) == [("7", "urgent", "LESCO F-7")])
    channel.send(message("resolved", severity="urgent", resolved_ms=time.time_ns() // 1_000_000))
    wait_until(lambda: firing(address) == [])


@pytest.mark.parametrize("act", ["closed", "merged"])
def test_what_was_closed_or_merged_ends_too(address: str, act: str) -> None:
    channel = schemes.make("am", f"alertmanager+{address}/")
    number = 8 if act == "closed" else 9
    channel.send(message("opened", number=number))
    wait_until(lambda: str(number) in {one[0] for one in firing(address)})
    channel.send(message(act, number=number))
    wait_until(lambda: str(number) not in {one[0] for one in firing(address)})


def test_what_it_refuses_is_not_tried_again(address: str) -> None:
    channel = schemes.make("am", f"alertmanager+{address}")
    broken = facts("opened", place="")
    broken["incident"]["began_ms"] = 4 * 10**12  # begins after its end
    with pytest.raises(SendFailed, match="HTTP 400") as failed:
        channel.send(AlertMessage("x", "y", facts=json.dumps(broken)))
    assert failed.value.permanent


def test_one_that_is_away_is_tried_again() -> None:
    channel = schemes.make("am", f"alertmanager+http://127.0.0.1:{free_port()}")
    with pytest.raises(SendFailed) as failed:
        channel.send(message("opened"))
    assert not failed.value.permanent


def test_only_the_severity_of_now_fires() -> None:
    made = alerts_of(facts("opened"), AlertMessage("t", "x"))
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 60))
    assert [one["labels"]["severity"] for one in made if str(one["endsAt"]) > now] == ["serious"]  # type: ignore[index]


@pytest.mark.parametrize("url", ["alertmanager+", "alertmanager+ftp://x", "webhook+https://", "webhook+https://x"])
def test_an_address_that_is_none_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ValueError, match="channel 'am'"):
        schemes.make("am", url)
