"""The doctor on installations that lack one thing each."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from agent import config
from agent.__main__ import main
from agent.diagnostics import doctor
from agent.identity import Identity

MOUNTS = """/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/sdb1 /var/lib xfs rw 0 0
"""


def found(settings: config.AgentSettings) -> dict[str, doctor.Diagnosis]:
    return {finding.what: finding for finding in doctor.diagnose(settings)}


def settings_at(folder: Path, **sections: object) -> config.AgentSettings:
    return config.AgentSettings(agent=config.AgentTable(state_dir=str(folder), status_listen="127.0.0.1:1"), **sections)  # type: ignore[arg-type]


def test_a_gateway_not_enrolled_is_told_how(tmp_path: Path) -> None:
    finding = found(settings_at(tmp_path))["identity"]
    assert not finding.ok
    assert finding.fix == "run `nabz-agent enrol URL`"


def test_an_enrolled_gateway_with_its_broker_is_in_order(tmp_path: Path, enrolled: Identity) -> None:
    findings = found(settings_at(tmp_path / "state"))
    assert findings["identity"].ok
    assert findings["state folder"].ok
    assert findings["broker"].ok
    assert not (tmp_path / "state" / "disk.trial").exists()


def test_a_broker_that_is_away_is_missing(tmp_path: Path, mortal_broker, enrolled_at_mortal_broker) -> None:
    mortal_broker.kill()
    finding = found(settings_at(tmp_path / "state"))["broker"]
    assert not finding.ok
    assert "cannot be reached" in finding.detail


def test_a_state_folder_that_is_not_there_is_missing(tmp_path: Path) -> None:
    finding = found(settings_at(tmp_path / "nowhere"))["state folder"]
    assert "cannot be written durably" in finding.detail
    assert not finding.ok


@pytest.mark.parametrize(
    ("folder", "kind"), [("/var/lib/nabz", "xfs"), ("/run/nabz", "tmpfs"), ("/runner", "ext4"), ("/", "ext4")]
)
def test_the_file_system_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    assert doctor.file_system(Path(folder), MOUNTS) == kind


def test_a_state_folder_in_memory_is_missing_a_disk() -> None:
    place = Path("/dev/shm") / f"nabz-doctor-{os.getpid()}"
    if doctor.file_system(place, Path("/proc/mounts").read_text()) != "tmpfs":
        assert not os.environ.get("CI")
        pytest.skip("/dev/shm is not in memory here")
    place.mkdir()
    try:
        finding = found(settings_at(place))["state folder"]
    finally:
        place.rmdir()
    assert not finding.ok
    assert "a power cut empties it" in finding.detail


def test_a_spool_larger_than_the_free_disk_is_missing_room(tmp_path: Path) -> None:
    free_mb = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize // 2**20
    huge = config.SpoolSection(max_mb=min(4096, free_mb)) if free_mb < 8192 else None
    findings = found(settings_at(tmp_path, **({"spool": huge} if huge else {})))
    assert findings["disk"].ok is (huge is None)


def test_a_ups_that_does_not_answer_is_missing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        ups = config.UpsSection(name="rack", host="127.0.0.1", port=silent.getsockname()[1])
        finding = found(settings_at(tmp_path, ups=[ups]))["ups"]
    assert not finding.ok
    assert finding.detail.startswith("rack: ")
    assert "--explain" in finding.fix


def test_somebody_on_the_ports_is_seen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as page:
        at = f"127.0.0.1:{page.getsockname()[1]}"
        settings = config.AgentSettings(
            agent=config.AgentTable(state_dir=str(tmp_path), status_listen=at), seats=config.SeatsSection(listen=at)
        )
        findings = found(settings)
    assert findings["agent"].ok
    assert findings["seat listener"].ok


def test_the_command_prints_each_finding_with_its_fix_and_exits_1(tmp_path: Path, capsys) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\nstatus_listen = "127.0.0.1:1"\n')
    assert main(["doctor", "--config", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("missing  identity")
    assert lines[0].endswith("run `nabz-agent enrol URL`")
    assert main(["doctor", "--config", str(path), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["what"] for row in rows][:3] == ["identity", "state folder", "disk"]
    assert all(row["ok"] or row["fix"] for row in rows)


def test_the_trap_listener_is_looked_for_where_it_is_asked_for(tmp_path: Path) -> None:
    assert "trap listener" not in found(settings_at(tmp_path))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{ear.getsockname()[1]}"
        settings = settings_at(tmp_path, power=config.PowerSection(trap_listen=address))
        assert found(settings)["trap listener"].ok
    silent = found(settings)["trap listener"]
    assert silent.detail == f"nobody listens on {address}"
    assert "start the agent" in silent.fix
    elsewhere = found(settings_at(tmp_path, power=config.PowerSection(trap_listen="192.0.2.7:1162")))["trap listener"]
    assert "an address of this machine" in elsewhere.fix
