"""Lines as people met them: real packets through namespaces, and the readings that are right there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.lines.line import SERVER, Terms
from bench.lines.line import line as emulated_line
from tests.helpers.line_namespaces import NAME_SERVER, ONCE, PORTAL, Line, built_line

pytestmark = pytest.mark.root

NAME = "far.nabz.example"
ALL_TCP_TO_THE_PORTAL = "type nat hook prerouting priority -100;\niif toa meta l4proto tcp dnat ip to 10.1.0.1:8080"


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with built_line(tmp_path) as line:
        line.resolves_by("10.3.0.2")
        yield line


@pytest.fixture
def named(line: Line) -> Iterator[Line]:
    """A line with a name server at the far end, that has the far end's name."""
    with line.serving("c", NAME_SERVER, "10.3.0.2", "10.3.0.2"):
        yield line


def causes(found: dict[str, Any]) -> list[str]:
    return list(found.get("causes", []))


# ---------------------------------------------------------------- whoever answers is not the far end


def test_a_portal_that_answers_every_handshake_is_no_line_that_works(named: Line) -> None:
    assert named.measure()["loss_pct"] == 0.0
    with named.serving("r", PORTAL, "10.1.0.1", "8080"):
        rules = f"{ALL_TCP_TO_THE_PORTAL}\n}}\nchain f {{\ntype filter hook forward priority 0;\niif toa drop"
        named.rules("r", rules)
        found = named.measure(target="10.3.0.2:8474")
    assert (found["loss_pct"], causes(found)) == (100.0, ["portal"])
    assert found["fault_place"] != "none"


def test_a_portal_that_answers_echoes_too_is_none_either(named: Line) -> None:
    with named.serving("r", PORTAL, "10.1.0.1", "8080"):
        echoes = "iif toa ip daddr != 10.1.0.1 icmp type echo-request dnat ip to 10.1.0.1"
        named.rules("r", f"{ALL_TCP_TO_THE_PORTAL}\n{echoes}")
        found = named.measure(target="10.3.0.2:8474")
    assert (found["loss_pct"], causes(found)) == (100.0, ["portal"])


def test_a_far_end_that_has_proven_itself_is_not_believed_without_proof(named: Line) -> None:
    """The portal stands beyond the routers that are known, so that only the missing proof tells."""
    with named.measure_server() as url:
        assert causes(named.measure(measure_url=url)) == []
    with named.serving("c", PORTAL, "10.3.0.2", "8474"):
        found = named.measure(measure_url=url)
    assert (found["loss_pct"], causes(found)) == (100.0, ["portal"])


def test_a_server_of_another_make_is_no_portal(named: Line) -> None:
    with named.serving("c", PORTAL, "10.3.0.2", "8474"):
        found = named.measure(measure_url="http://10.3.0.2:8474")
    assert (found["loss_pct"], causes(found)) == (0.0, [])


@pytest.mark.slow
@pytest.mark.parametrize(("echoes", "loss_pct"), [("accept", 0.0), ("drop", 100.0)])
def test_a_firewalls_reset_is_not_the_far_ends_word(named: Line, echoes: str, loss_pct: float) -> None:
    reset = "type filter hook forward priority 0;\nmeta l4proto tcp reject with tcp reset"
    named.rules("r", f"{reset}\nicmp type echo-request {echoes}")
    found = named.measure(target="10.3.0.2:8474")
    assert (found["loss_pct"], causes(found)) == (loss_pct, ["filtered"])


def test_a_far_end_that_drops_echoes_and_refuses_is_itself(named: Line) -> None:
    named.run("c", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    found = named.measure(target="10.3.0.2:8474")
    assert (found["loss_pct"], found["fault_place"], causes(found)) == (0.0, "none", [])


def test_a_hijacked_name_is_told_and_the_line_is_measured_to_the_address_it_had(line: Line) -> None:
    with line.serving("c", NAME_SERVER, "10.3.0.2", "10.3.0.2"), line.measure_server() as url:
        url = url.replace("10.3.0.2", NAME)
        assert causes(line.measure(NAME, url)) == []
    with line.serving("c", NAME_SERVER, "10.3.0.2", "10.1.0.1"), line.measure_server() as _:
        found = line.measure(NAME, url)
    assert causes(found) == ["dns"]
    assert (found["loss_pct"], found["hops"][-1]["target"]) == (0.0, "10.3.0.2")


# ---------------------------------------------------------------- names


@pytest.mark.slow
def test_names_that_do_not_resolve_are_told_while_the_line_carries(line: Line) -> None:
    with line.serving("c", NAME_SERVER, "10.3.0.2", "10.3.0.2"):
        well = line.measure(NAME)
    assert (well["names_failed_pct"], well["names_by"], causes(well)) == (0.0, "10.3.0.2", [])
    assert 0 < well["names_ms"] < 1000
    line.drop("r", "udp dport 53")
    found = line.measure(NAME)
    assert (found["loss_pct"], found["names_failed_pct"], causes(found)) == (0.0, 100.0, ["dns"])
    assert found["names_silent"] == ["10.3.0.2"]
    # With the line itself down, names that do not resolve are no cause.
    line.run("i", "ip", "link", "set", "toc", "down")
    assert causes(line.measure(NAME)) == []


# ---------------------------------------------------------------- loss means loss


@pytest.mark.parametrize("with_server", [pytest.param(True, marks=pytest.mark.slow), False])
def test_echoes_that_a_provider_polices_are_nobodys_loss(named: Line, with_server: bool) -> None:
    police = (
        "type filter hook forward priority 0;\nicmp type echo-request limit rate over 4/second burst 5 packets drop"
    )
    with named.measure_server() as url:
        named.rules("i", police)
        found = named.measure("10.3.0.2:8474", url if with_server else "", probes=20, interval_ms=100)
    assert (found["loss_pct"], found["hops"][-1]["method"]) == (0.0, "udp" if with_server else "tcp")
    assert found["hops"][-2]["received"] < 18


@pytest.mark.parametrize("with_server", [pytest.param(True, marks=pytest.mark.slow), False])
def test_what_every_packet_suffers_stays_a_loss(named: Line, with_server: bool) -> None:
    """Also by TCP, which repeats a SYN that was lost."""
    with named.measure_server() as url:
        named.drop("i", "numgen random mod 100 < 30")
        found = named.measure("10.3.0.2:8474", url if with_server else "", probes=200, interval_ms=20)
    assert 40 < found["loss_pct"] < 62  # 30 each way are 51, with the noise of 200


@pytest.mark.parametrize(
    ("rtt_ms", "jitter_ms"),
    [pytest.param(1100, 0, marks=pytest.mark.slow), pytest.param(1500, 100, marks=pytest.mark.slow), (3000, 0)],
)
def test_late_is_not_lost(tmp_path: Path, rtt_ms: float, jitter_ms: float) -> None:
    terms = Terms(down_mbps=5, up_mbps=1, rtt_ms=rtt_ms, jitter_ms=jitter_ms)
    with emulated_line(terms) as slow:
        words = [*slow.client, sys.executable, "-c", ONCE, str(tmp_path), SERVER, "", "10", "50"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    found = msgspec.json.decode(done.stdout)
    assert found["loss_pct"] == 0.0
    assert found["rtt_median_ms"] == pytest.approx(rtt_ms, rel=0.2)


def test_a_dead_address_family_does_not_hide_the_one_that_carries(named: Line) -> None:
    named.resolves_by("10.3.0.2", hosts=f"10.3.0.2 {NAME}\n2001:db8:2::10 {NAME}\n")
    named.run("a", "ip", "address", "add", "2001:db8:1::2/64", "dev", "tor", "nodad")
    named.run("a", "ip", "-6", "route", "add", "default", "dev", "tor")
    found = named.measure(NAME)
    assert (found["loss_pct"], found["fault_place"], causes(found)) == (0.0, "none", ["ipv6_dead"])
    assert [(one["target"], one["received"]) for one in found["hops"] if one["role"] == "collector"] == [
        ("2001:db8:2::10", 0),
        ("10.3.0.2", 5),
    ]


# ---------------------------------------------------------------- the place of a fault


@pytest.mark.slow
def test_on_a_line_without_a_router_a_fault_beyond_is_beyond(named: Line) -> None:
    named.run("r", "sysctl", "-qw", "net.ipv4.conf.toa.proxy_arp=1")
    named.run("a", "ip", "route", "replace", "default", "dev", "tor")
    assert named.measure()["fault_place"] == "none"
    named.run("i", "ip", "link", "set", "toc", "down")
    assert named.measure()["fault_place"] == "beyond"
    # The session is gone, and the default route with it: not known, but not the site's own network.
    named.run("a", "ip", "route", "delete", "default")
    assert "fault_place" not in named.measure()


# ---------------------------------------------------------------- large packets


def narrow(line: Line, *, announced: bool) -> None:
    for name, device in (("r", "toi"), ("i", "tor")):
        line.run(name, "ip", "link", "set", device, "mtu", "1400")
        if not announced:
            line.rules(name, "type filter hook output priority 0;\nicmp type destination-unreachable drop")


def test_large_packets_that_vanish_are_told(named: Line) -> None:
    with named.measure_server() as url:
        well = named.measure("10.3.0.2:8474", url)
        narrow(named, announced=False)
        found = named.measure("10.3.0.2:8474", url)
    assert (well["path_mtu_bytes"], causes(well)) == (1500, [])
    assert (found["path_mtu_bytes"], causes(found), found["loss_pct"]) == (1400, ["mtu"], 0.0)


def test_a_narrow_path_whose_routers_say_so_is_no_fault(named: Line) -> None:
    with named.measure_server():
        narrow(named, announced=True)
        found = named.measure("10.3.0.2:8474")
    assert (found["path_mtu_bytes"], causes(found)) == (1400, [])


@pytest.mark.slow
def test_large_echoes_alone_that_are_dropped_are_no_fault(named: Line) -> None:
    with named.measure_server():
        named.drop("i", "meta l4proto icmp meta length > 1000")
        found = named.measure("10.3.0.2:8474")
    assert causes(found) == []


def test_a_path_that_clamps_tcps_segments_is_no_fault(named: Line) -> None:
    with named.measure_server():
        narrow(named, announced=False)
        clamp = "type filter hook forward priority 0;\ntcp flags syn tcp option maxseg size set 1300"
        deaf = "}\nchain o {\ntype filter hook output priority 0;\nicmp type destination-unreachable drop"
        named.rules("r", f"{clamp}\n{deaf}")
        found = named.measure("10.3.0.2:8474")
    assert (found["path_mtu_bytes"], causes(found)) == (1400, [])


# ---------------------------------------------------------------- a speed test on such lines

SPEED = """
import asyncio, sys
from agent.config import AgentSettings, AgentTable, SpeedSection
from agent.probes.probe import Context, ProbeFailed
from agent.probes.speed import probe
settings = AgentSettings(
    agent=AgentTable(state_dir=sys.argv[1]), speed=SpeedSection(server=sys.argv[2], mode="quick", inline="no")
)
try:
    (found,) = asyncio.run(probe(Context(settings=settings, deadline_s=60)))
    print("measured", found.download_mbps, found.upload_mbps)
except ProbeFailed as error:
    print(error.cause, error.detail)
"""


def speed(line: Line, url: str) -> str:
    return line.run("a", sys.executable, "-c", SPEED, str(line.state_dir), url)


@pytest.mark.slow
def test_a_direction_that_stalls_is_a_failure_that_names_large_packets(named: Line) -> None:
    with named.measure_server() as url:
        narrow(named, announced=False)
        result = speed(named, url)
    assert result.startswith("mtu ")
    assert "1400 bytes" in result


@pytest.mark.parametrize(
    "direction",
    [
        pytest.param("iif toi tcp sport 8474 meta length > 200", marks=pytest.mark.slow),
        "iif toa tcp dport 8474 meta length > 200",
    ],
)
def test_a_direction_that_stalls_for_another_reason_says_so(named: Line, direction: str) -> None:
    with named.measure_server() as url:
        named.drop("r", direction)
        result = speed(named, url)
    assert result.split()[0] in ("stalled", "unreachable", "timeout")
    assert "measured" not in result


@pytest.mark.parametrize("script", [PORTAL, PORTAL.replace("HEAD + PAGE", "HEAD + PAGE * 20000")])
def test_a_page_is_no_measurement_server(named: Line, script: str) -> None:
    with named.serving("c", script, "10.3.0.2", "8474"):
        assert speed(named, "http://10.3.0.2:8474").startswith("not_a_speed_server ")


# ---------------------------------------------------------------- the doctor on such lines

DOCTOR = """
import sys
from agent.config import AgentSettings, AgentTable, LinkSection
from agent.diagnostics.line import findings
from agent.probes.probe import Context
link = LinkSection(target=sys.argv[2], probes=5, interval_ms=20)
context = Context(settings=AgentSettings(agent=AgentTable(state_dir=sys.argv[1]), link=link), deadline_s=45)
for found in findings(context):
    print(f"{found.what}: {found.detail} -> {found.fix or 'ok'}")
"""


def doctor(line: Line) -> str:
    return line.run("a", sys.executable, "-c", DOCTOR, str(line.state_dir), "10.3.0.2:8474")


@pytest.mark.slow
def test_the_doctor_names_large_packets_and_names_that_do_not_resolve(named: Line) -> None:
    with named.measure_server():
        well = doctor(named)
        narrow(named, announced=False)
        named.rules("c", "type filter hook input priority 0;\nudp dport 53 drop")
        ill = doctor(named)
    assert well.count("-> ok") == 3, well
    assert "path MTU: packets of full size vanish on the way without a word: over 1400 bytes" in ill
    assert "line: names do not resolve, or lead to another's address" in ill
    assert not (named.state_dir / "link.json").exists()  # it changes nothing
