"""A gateway that is not the router: the router's counters by a real SNMP agent, and what they say of a real line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import AgentSettings, SpeedSection
from agent.probes.probe import ProbeFailed
from agent.probes.speed.line import router
from agent.probes.speed.line.idle_check import line_load
from agent.probes.speed.line.router import RouterWatch, refresh_s
from agent.probes.ups import snmp
from bench.gateway.cards import plain, running
from bench.lines.emulator import GOODPUT
from bench.lines.line import SERVER, Terms, line
from tests.helpers.waiting import wait_until

SCRIPT = Path(__file__).parent / "router_counters.py"
NEEDS_SNMPD = pytest.mark.skipif(
    shutil.which("snmpd") is None and not os.environ.get("CI"), reason="needs snmpd of Debian's package"
)
MAY_NOT = os.geteuid() != 0 or not Path("/dev/net/tun").exists()


@contextlib.contextmanager
def snmpd(
    folder: Path, address: str, interface: str, every_s: float | None, prefix: tuple[str, ...] = ()
) -> Iterator[None]:
    """net-snmp's agent with counters shown anew every so many seconds; None: as it shows them by itself."""
    script = f"pass_persist -p 10 .1.3.6.1.2.1.31.1.1.1 {sys.executable} {SCRIPT} {interface} {every_s}"
    words = [
        "rocommunity public",
        'createUser nabz SHA-256 "auth phrase" AES "priv phrase"',
        "rouser nabz priv",
        *([script] if every_s is not None else []),
    ]
    (folder / "snmpd.conf").write_text("\n".join(words) + "\n")
    command = ["snmpd", "-f", "-C", "-c", str(folder / "snmpd.conf"), "-Ln", f"udp:{address}"]
    ask = ["snmpget", "-v2c", "-c", "public", "-r", "0", "-t", "1", address, "1.3.6.1.2.1.1.3.0"]
    with running([*prefix, *command], plain() | {"SNMP_PERSISTENT_DIR": str(folder / "snmp")}):
        wait_until(lambda: subprocess.run([*prefix, *ask], env=plain(), capture_output=True).returncode == 0, "snmpd")
        yield


@pytest.fixture
def port(free_port: int) -> int:
    return free_port


def settings(port: int, **fields: object) -> SpeedSection:
    given: dict[str, object] = {"router_host": "127.0.0.1", "router_port": port, "router_interface": "lo"}
    return SpeedSection(**(given | fields))  # type: ignore[arg-type]


@contextlib.contextmanager
def chatter() -> Iterator[None]:
    """Something for the loopback to count."""
    words = "import socket,time\ns=socket.socket(2,2)\nwhile 1:\n s.sendto(b'x',('127.0.0.1',9)); time.sleep(.01)"
    with running([sys.executable, "-c", words], os.environ):
        yield


def watched(speed: SpeedSection, seconds: float) -> RouterWatch:
    with RouterWatch(speed) as watch:
        time.sleep(seconds)
    return watch


# ---------------------------------------------------------------- the counters


@NEEDS_SNMPD
@pytest.mark.parametrize("version", ["2c", "3"])
def test_the_routers_counters_are_read_by_name_and_their_pace_is_told(tmp_path: Path, port: int, version: str) -> None:
    (tmp_path / "auth").write_text("auth phrase\n")
    (tmp_path / "priv").write_text("priv phrase\n")
    v3 = {
        "router_user": "nabz",
        "router_auth_protocol": "sha256",
        "router_auth_key_file": str(tmp_path / "auth"),
        "router_priv_protocol": "aes",
        "router_priv_key_file": str(tmp_path / "priv"),
    }
    speed = settings(port, router_snmp_version=version, **(v3 if version == "3" else {}))
    with snmpd(tmp_path, f"127.0.0.1:{port}", "lo", 0.5), chatter():
        watch = watched(speed, 3.0)
    assert watch.trouble == ""
    assert refresh_s(watch.changed_s) == pytest.approx(0.5, abs=0.3)
    assert watch.why_unseen() == frozenset()  # nobody asked it yet
    seen = watch.interface.read()
    assert watch.why_unseen() == {"router_slow"}
    assert seen is not None
    assert seen.rx > 0
    assert seen.tx > 0
    assert watch.interface.stepped


@NEEDS_SNMPD
def test_an_interface_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, port: int) -> None:
    with snmpd(tmp_path, f"127.0.0.1:{port}", "lo", 0.0):
        watch = watched(settings(port, router_interface="ether1"), 0.3)
    assert "no interface 'ether1'; it has: lo" in watch.trouble


@NEEDS_SNMPD
def test_the_line_is_looked_at_by_the_routers_counters(tmp_path: Path, port: int) -> None:
    whole = AgentSettings(speed=settings(port))
    with snmpd(tmp_path, f"127.0.0.1:{port}", "lo", 0.3), chatter():
        load = asyncio.run(line_load(whole, 2.0))
    assert load is not None
    assert load.down_mbps > 0.005
    assert load.up_mbps > 0.005


def test_a_silent_router_tells_no_load(port: int) -> None:
    assert asyncio.run(line_load(AgentSettings(speed=settings(port)), 0.0)) is None


def test_a_router_that_does_not_answer_holds_nobody_up_for_long(port: int) -> None:
    began_s = time.monotonic()
    watch = watched(settings(port), 0.0)
    assert time.monotonic() - began_s < 30
    assert watch.interface.read() is None
    assert watch.why_unseen() == {"router_silent"}
    assert watch.trouble


def test_an_interface_may_be_given_by_its_number() -> None:
    async def nobody(_command: snmp.Command, _oids: object, _wait_s: float) -> snmp.SnmpResponse:
        raise AssertionError("a number needs no question")

    assert asyncio.run(router.index_of(snmp.SnmpSession(nobody), "12")) == "12"


def test_a_table_without_end_is_left() -> None:
    """A hostile router names ever more interfaces."""

    async def endless(_command: snmp.Command, oids: list[str], _wait_s: float) -> snmp.SnmpResponse:
        column, _, last = oids[0].rpartition(".")
        fresh = f"{oids[0]}.1" if oids[0] in (router.IF_NAME, router.IF_DESCR) else f"{column}.{int(last) + 1}"
        return snmp.SnmpResponse(0, 0, [(fresh, b"x")])

    with pytest.raises(ProbeFailed, match="it has: x"):
        asyncio.run(router.index_of(snmp.SnmpSession(endless), "wan"))


def test_a_pace_is_the_usual_pause_between_changes() -> None:
    assert refresh_s([]) is None
    assert refresh_s([1.0]) is None
    assert refresh_s([1.0, 2.0, 3.0, 9.0]) == 1.0


# ---------------------------------------------------------------- a real line


TERMS = Terms(down_mbps=20, up_mbps=5, rtt_ms=20)
CENTER, ROUTER = "10.88.0.2", "10.88.0.1"
SENDER = """
import socket, sys, time
s, packet, pause = socket.socket(2, 2), bytes(1400), 1428 * 8 / (float(sys.argv[2]) * 1e6)
due = time.monotonic()
while True:
    s.sendto(packet, (sys.argv[1], 5999))
    due += pause
    time.sleep(max(0, due - time.monotonic()))
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def center_behind(router_space: str, server_space: str) -> Iterator[tuple[str, ...]]:
    """A namespace on the router's LAN; the command prefix that runs there."""
    name = f"nzl{os.getpid()}"
    ip("netns", "add", name)
    try:
        ip("-n", router_space, "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", router_space, "addr", "add", f"{ROUTER}/24", "dev", "lan0")
        ip("-n", router_space, "link", "set", "lan0", "up")
        ip("-n", name, "addr", "add", f"{CENTER}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", name, "link", "set", device, "up")
        ip("-n", name, "route", "add", "default", "via", ROUTER)
        ip("-n", server_space, "route", "add", "10.88.0.0/24", "dev", server_space)
        subprocess.run(["ip", "netns", "exec", router_space, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
        yield ("ip", "netns", "exec", name)
    finally:
        ip("netns", "del", name)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What the agent says of one line half full of others' traffic: by a router with live counters, by stock snmpd,
    and by nobody."""
    if (MAY_NOT or shutil.which("snmpd") is None) and not os.environ.get("CI"):
        pytest.skip("needs root, /dev/net/tun, iproute2 and snmpd")
    folder = tmp_path_factory.mktemp("router")
    found: dict[str, dict[str, object]] = {}
    with line(TERMS) as made, center_behind(made.client[-1], made.server[-1]) as center:
        wan = made.client[-1]
        serve = [*made.server, sys.executable, "-m", "collector", "measure", "--listen", f"{SERVER}:8080"]
        others = [*made.server, sys.executable, "-c", SENDER, "10.77.0.2", "10"]
        with running(serve, os.environ), running(others, os.environ):
            time.sleep(3)
            for name, every_s, mode in (("live", 0.5, "adaptive"), ("stock", None, "quick"), ("nobody", None, "quick")):
                conf = folder / name
                conf.mkdir()
                (conf / "agent.toml").write_text(
                    f'[agent]\nstate_dir = "{conf}"\n[speed]\nserver = "http://{SERVER}:8080"\nmode = "{mode}"\n'
                    + (f'router_host = "{ROUTER}"\nrouter_interface = "{wan}"\n' if name != "nobody" else "")
                )
                words = [*center, sys.executable, "-m", "agent", "probe", "speed", "--json"]
                with snmpd(conf, f"{ROUTER}:161", wan, every_s, tuple(made.client)):
                    ran = subprocess.run(
                        [*words, "--config", str(conf / "agent.toml"), "--explain"], capture_output=True, text=True
                    )
                print(ran.stderr)
                found[name] = json.loads(ran.stdout)
    if made.late_ms > 2:
        pytest.skip(f"the emulator did not get the CPU it needs: {made.late_ms} ms late")
    return found


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.root
def test_a_routers_live_counters_add_back_what_others_move(measured: dict[str, dict[str, object]]) -> None:
    reading = measured["live"]
    assert reading["others_from"] == "router"
    truth = TERMS.down_mbps * GOODPUT
    assert float(str(reading["download_mbps"])) < 0.75 * truth
    assert float(str(reading["capacity_down_mbps"])) == pytest.approx(truth, rel=0.06)
    assert "cross_traffic" in str(reading["flags"])
    assert not {"others_unseen", "router_slow"} & set(reading["flags"])  # type: ignore[call-overload]


@pytest.mark.slow
@pytest.mark.root
def test_a_stock_agents_counters_are_too_slow_and_a_gateway_beside_the_line_sees_nobody(
    measured: dict[str, dict[str, object]],
) -> None:
    for name, flags in (("stock", {"others_unseen", "router_slow"}), ("nobody", {"others_unseen"})):
        reading = measured[name]
        assert reading["others_from"] is None
        assert reading["capacity_down_mbps"] is None
        assert flags <= set(reading["flags"])  # type: ignore[call-overload]


@pytest.mark.slow
@pytest.mark.root
def test_the_line_a_test_ran_on_is_named(measured: dict[str, dict[str, object]]) -> None:
    reading = measured["live"]
    assert (reading["public_address"], reading["wan_interface"], reading["failover"]) == (CENTER, "eth0", None)
