"""The unit files, judged by systemd's own tools, and the programs held to what their units say of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent import identity
from tests.helpers import ROOT
from tests.helpers.ports import free_ports

FOLDER = ROOT / "systemd"
FILTER = "nabz-broker-filter.service"  # does its work once, and with a right of root's
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
SERVICES = [unit for unit in UNITS if unit != FILTER]
BIN = Path(sys.prefix) / "bin"
MOST_EXPOSED = 15  # tenths: 1.5 in `systemd-analyze security`


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None and "CI" not in os.environ:
        pytest.skip(f"{name} is not installed (Debian: systemd)")
    return found or name


def text_of(unit: str) -> str:
    return (FOLDER / unit).read_text()


def settings_of(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", text_of(unit), re.MULTILINE)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The units with this environment's programs in place of /opt/nabz, as an installation has them."""
    for unit in UNITS:
        (tmp_path / unit).write_text(text_of(unit).replace("/opt/nabz/bin", str(BIN)))
    return tmp_path


def test_there_is_a_unit_for_every_role() -> None:
    assert SERVICES == ["nabz-agent.service", "nabz-collector.service", "nabz-measure.service", "nabz-seat.service"]


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: str, here: Path) -> None:
    done = subprocess.run([tool("systemd-analyze"), "verify", here / unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_would_find_a_mistake(here: Path) -> None:
    """That `verify` sees what is wrong here at all, so that its silence above means something."""
    broken = here / "nabz-agent.service"
    broken.write_text(broken.read_text().replace("NoNewPrivileges=", "NoNewPrivilege="))
    done = subprocess.run([tool("systemd-analyze"), "verify", broken], capture_output=True, text=True, check=False)
    assert "NoNewPrivilege" in done.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_exposes_as_little_as_the_best(unit: str, here: Path) -> None:
    words = [tool("systemd-analyze"), "security", "--offline=true", f"--threshold={MOST_EXPOSED}", here / unit]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_takes_no_capability_and_no_secret_from_its_environment(unit: str) -> None:
    assert settings_of(unit, "CapabilityBoundingSet") == settings_of(unit, "AmbientCapabilities") == [""]
    assert not settings_of(unit, "Environment")


@pytest.mark.parametrize("unit", SERVICES)
def test_every_service_comes_back_for_ever_as_a_user_of_its_own(unit: str) -> None:
    assert settings_of(unit, "Restart") == ["always"]
    assert settings_of(unit, "StartLimitIntervalSec") == ["0"]
    assert settings_of(unit, "User") == settings_of(unit, "Group") == [unit.removesuffix(".service")]


@pytest.mark.root
def test_the_rules_for_the_broker_load_with_one_right_alone(tmp_path: Path) -> None:
    """By a user without any other, in a network of its own; and again, as at a reload."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the kernel's packet filter")
    for key in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert settings_of(FILTER, key) == ["CAP_NET_ADMIN"]
    load, again, stop = (settings_of(FILTER, key)[0] for key in ("ExecStart", "ExecReload", "ExecStop"))
    script = " && ".join(
        [load, again, "/usr/sbin/nft list ruleset", stop.removeprefix("-"), "/usr/sbin/nft list ruleset"]
    )
    rights = [f"--{kind}=-all,+net_admin" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    user = ["setpriv", "--reuid=65534", "--clear-groups", "--no-new-privs", *rights]
    words = ["unshare", "--net", *user, "sh", "-c", script.replace("/etc/nabz/broker.nft", "/dev/stdin")]
    copy = Path(shutil.copyfile(FOLDER / "nabz-broker.nft", tmp_path / "broker.nft"))
    copy.chmod(0o644)
    with copy.open("rb") as rules:
        done = subprocess.run(words, stdin=rules, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("table inet nabz_broker") == 1
    assert "limit rate over 128 kbytes/second" in done.stdout


def test_every_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    words = [tool("systemd-sysusers"), f"--root={tmp_path}", FOLDER / "sysusers.d" / "nabz.conf"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {line.partition(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    assert {user for unit in UNITS for user in settings_of(unit, "User")} <= made


@pytest.mark.root
def test_every_folder_is_made_for_its_user_and_the_seat_may_read_its_hardware(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: folders are given to other users")
    (tmp_path / "etc").mkdir()
    uuid = tmp_path / "sys/class/dmi/id/product_uuid"  # the others are not there, as on some machines
    uuid.parent.mkdir(parents=True)
    uuid.touch(0o400)
    for name, folder in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
        words = [tool(name), f"--root={tmp_path}", *(["--create"] if folder == "tmpfiles.d" else [])]
        done = subprocess.run([*words, FOLDER / folder / "nabz.conf"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "var/lib/nabz-agent").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var/lib/nabz-agent").stat().st_uid != 0
    assert (tmp_path / "etc/nabz").stat().st_uid == 0
    # The seat may read what tells its PC apart; nobody else but root may.
    assert (uuid.stat().st_mode & 0o777, uuid.stat().st_uid) == (0o440, 0)
    assert uuid.stat().st_gid != 0


def test_the_agent_may_ask_whether_its_clock_is_right() -> None:
    """@system-service leaves adjtimex out, and without it every reading would say that the clock is unsynced."""
    assert "adjtimex clock_adjtime" in settings_of("nabz-agent.service", "SystemCallFilter")
    assert not settings_of("nabz-agent.service", "ProtectClock")


def test_the_sysctl_opens_ping_to_every_group() -> None:
    lines = (FOLDER / "sysctl.d" / "60-nabz-ping.conf").read_text().splitlines()
    assert lines[-1] == f"net.ipv4.ping_group_range = 0 {2**31 - 1}"


def test_the_note_on_installing_names_every_file() -> None:
    note = (FOLDER / "README.md").read_text()
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.name != "README.md":
            assert str(path.relative_to(FOLDER)) in note, path


# ---------------------------------------------------------------- the programs keep their units' word


@contextmanager
def started(words: list[str], folder: Path, watchdog_s: int) -> Iterator[socket.socket]:
    """A program as systemd would start it: it has a socket to report to, and a watchdog to feed."""
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(path))
        ear.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(watchdog_s * 1_000_000)}
        with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield ear
            finally:
                process.send_signal(signal.SIGTERM)
                _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint


def heard(ear: socket.socket, wanted: str, within_s: float = 60) -> bool:
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        if wanted in ear.recv(4096).decode().splitlines():
            return True
    return False


def command_of(unit: str, folder: Path, ports: list[int]) -> list[str]:
    """What the unit starts, with this environment's programs and places of its own."""
    program, *words = settings_of(unit, "ExecStart")[0].split()
    words = [word.replace("%S", str(folder)) for word in words]
    if unit == "nabz-measure.service":
        words += ["--listen", f"127.0.0.1:{ports[0]}"]
    else:
        path = folder / "settings.toml"
        path.write_text(agent_settings(folder, ports) if unit == "nabz-agent.service" else collector_settings(ports))
        words += ["--config", str(path)]
    return [str(BIN / Path(program).name), *words]


def collector_settings(ports: list[int]) -> str:
    """Without the measurement server as a child: what is heard must be the service's own word."""
    broker, web, _ = ports
    listens = f'[broker]\nlisten = "127.0.0.1:{broker}"\n[web]\nlisten = "127.0.0.1:{web}"\n'
    return f"{listens}[measure]\nenabled = false\n"


def agent_settings(folder: Path, ports: list[int]) -> str:
    """Of a gateway that has joined a collector which is not there now: it must run all the same."""
    key = identity.make_key(folder)
    device = identity.device_name(key.public_key().public_bytes_raw())
    known = identity.Enrolled(
        device=device, center="T-1", name="Test", collector_key=b"k" * 32, broker_host="127.0.0.1",
        broker_port=ports[0], measure_url="", enrolled_ms=0,
    )  # fmt: skip
    identity.save(folder, known)
    return (
        f'[agent]\nstate_dir = "{folder}"\nstatus_listen = "127.0.0.1:{ports[1]}"\n'
        f'[seats]\nlisten = "127.0.0.1:{ports[2]}"\n[speed]\nenabled = false\n'
    )


@pytest.mark.parametrize("unit", [unit for unit in SERVICES if unit != "nabz-seat.service"])
def test_a_service_of_type_notify_reports_that_it_is_ready_and_alive(unit: str, tmp_path: Path) -> None:
    assert settings_of(unit, "Type") == ["notify"]
    assert settings_of(unit, "WatchdogSec")
    with started(command_of(unit, tmp_path, free_ports(3)), tmp_path, watchdog_s=4) as ear:
        assert heard(ear, "READY=1")
        assert heard(ear, "WATCHDOG=1")


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_bounds_memory_descriptors_and_tasks(unit: str) -> None:
    for key in ("MemoryMax", "LimitNOFILE", "TasksMax"):
        assert len(settings_of(unit, key)) == 1, key
