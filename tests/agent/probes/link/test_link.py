"""A line hop by hop: where a fault lies, what is remembered, and real lines through namespaces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.config import AgentSettings, AgentTable, LinkSection
from agent.probes.link.far_end import LinkTarget
from agent.probes.link.link import place_fault, probe, target_of
from agent.probes.link.path import PathFound, read_path, remember, write_path
from agent.probes.probe import Context, ProbeFailed
from agent.wire import Hop, LinkReading
from tests.helpers.line_namespaces import Line, built_line


def hops(lan: int | None, isp: list[int], collector: int | None) -> list[Hop]:
    """Hops that answered so many of twenty echoes."""
    roles = [("lan", lan), *(("isp", heard) for heard in isp), ("collector", collector)]
    return [
        msgspec.convert({"role": role, "target": "x", "method": "icmp", "sent": 20, "received": heard}, Hop)
        for role, heard in roles
        if heard is not None
    ]


@pytest.mark.parametrize(
    ("lan", "isp", "collector", "place"),
    [
        (20, [20, 20], 20, "none"),
        (20, [20, 20], 0, "beyond"),
        (20, [20, 0], 0, "isp"),
        (20, [0, 0], 0, "isp"),
        (0, [0, 0], 0, "lan"),
        # A router that ignores echoes is no fault while those behind it answer.
        (0, [0, 0], 20, "none"),
        (20, [0, 20], 0, "beyond"),
        (0, [20, 20], 0, "beyond"),
        # Half the packets die in the building, and so everywhere behind it.
        (10, [11, 9], 10, "lan"),
        (20, [10, 10], 9, "isp"),
        (20, [20, 20], 10, "beyond"),
        # One or two lost of twenty have no place worth naming.
        (20, [20, 20], 18, "none"),
        # No hop of the ISP is known: its fault cannot be told from one beyond.
        (20, [], 0, None),
        (0, [], 0, "lan"),
        # No router at all: the fault is here.
        (None, [], 0, "lan"),
        # Not measured to the far end.
        (20, [20], None, None),
        (0, [0], None, "lan"),
    ],
)
def test_a_fault_has_a_place(lan: int | None, isp: list[int], collector: int | None, place: str | None) -> None:
    assert place_fault(hops(lan, isp, collector)) == place


@pytest.mark.parametrize(
    ("isp", "collector", "place"),
    [([20, 20], 20, "none"), ([20, 20], 0, "beyond"), ([20, 0], 0, "isp"), ([0, 0], 0, "isp"), ([], 0, None)],
)
def test_on_a_line_without_a_router_of_the_sites_own_no_fault_is_the_sites(
    isp: list[int], collector: int, place: str | None
) -> None:
    assert place_fault(hops(None, isp, collector), router=False) == place


def test_nothing_measured_has_no_place() -> None:
    assert place_fault([]) is None


def context(state_dir: Path, target: str = "", measure_url: str | None = None, **link: Any) -> Context:
    settings = AgentSettings(agent=AgentTable(state_dir=str(state_dir)), link=LinkSection(target=target, **link))
    return Context(settings=settings, deadline_s=10.0, measure_url=measure_url)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("collector.example", LinkTarget(host="collector.example", port=443)),
        ("collector.example:8883", LinkTarget(host="collector.example", port=8883)),
        ("[2001:db8::1]:8883", LinkTarget(host="2001:db8::1", port=8883)),
        ("2001:db8::1", LinkTarget(host="2001:db8::1", port=443)),
        ("", None),
    ],
)
def test_a_target_is_a_host_with_or_without_a_port(tmp_path: Path, text: str, target: LinkTarget | None) -> None:
    assert target_of(context(tmp_path, text)) == target


def test_the_measurement_servers_port_stands_in_on_the_same_host(tmp_path: Path) -> None:
    found = target_of(context(tmp_path, "10.0.0.1", "http://10.0.0.1:8474/measure"))
    assert found == LinkTarget(host="10.0.0.1", port=8474, measure_url="http://10.0.0.1:8474/measure")
    assert target_of(context(tmp_path, "10.0.0.1", "http://10.0.0.2:8474")) == LinkTarget(host="10.0.0.1", port=443)


@pytest.mark.parametrize("text", ["host:99999", "a/b", "[::1", "host:port"])
def test_a_wrong_target_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ProbeFailed, match="is not HOST or HOST:PORT"):
        target_of(context(tmp_path, text))


def test_a_line_that_is_down_still_has_hops_to_be_silent(tmp_path: Path) -> None:
    known = PathFound(target="c", addresses=("192.0.2.1",), isp=("10.0.0.1",))
    write_path(tmp_path / "link.json", known)
    assert read_path(tmp_path / "link.json") == known
    # Nothing was found this time: what was known stays.
    assert remember(known, PathFound(target="c", addresses=("192.0.2.1",), isp=())) == known


def test_what_an_older_agent_remembered_is_still_known(tmp_path: Path) -> None:
    (tmp_path / "link.json").write_text('{"target": "c", "address": "192.0.2.1", "isp": ["10.0.0.1"]}')
    assert read_path(tmp_path / "link.json") == PathFound(target="c", addresses=("192.0.2.1",), isp=("10.0.0.1",))


def test_an_isp_that_balances_over_two_routers_is_written_once() -> None:
    one = PathFound(target="c", addresses=("192.0.2.1",), isp=("10.0.0.1",))
    both = remember(one, PathFound(target="c", addresses=("192.0.2.1",), isp=("10.0.0.2",)))
    assert both.isp == ("10.0.0.2", "10.0.0.1")
    assert remember(both, one) == both


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[" * 100_000, '{"target":1,"address":"x","isp":[]}', '{"target":"c","address":"evil","isp":[]}',
     '{"target":"c","address":"192.0.2.1","isp":[null]}', '{"target":"c","addresses":"192.0.2.1","isp":[]}',
     '{"target":"c","addresses":["192.0.2.1"],"isp":[],"router":"yes"}'],
)  # fmt: skip
def test_a_spoilt_memory_is_no_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / "link.json").write_text(text)
    assert read_path(tmp_path / "link.json") == PathFound()


def test_this_machine_as_the_target_has_no_fault(tmp_path: Path) -> None:
    (reading,) = asyncio.run(probe(context(tmp_path, "127.0.0.1", probes=5, interval_ms=20)))
    assert isinstance(reading, LinkReading)
    assert (reading.loss_pct, reading.fault_place, reading.subject) == (0.0, "none", "wan")
    assert reading.hops[-1].role == "collector"
    assert reading.rtt_median_ms == reading.hops[-1].median_ms


# ---------------------------------------------------------------- real lines: agent, router, ISP, collector


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with built_line(tmp_path) as line:
        yield line


@pytest.mark.slow
@pytest.mark.root
def test_a_real_line_is_measured_hop_by_hop_and_its_faults_have_places(line: Line) -> None:
    whole = line.measure()
    assert whole["fault_place"] == "none"
    assert [(one["role"], one["target"]) for one in whole["hops"]] == [
        ("lan", "10.1.0.1"),
        ("isp", "10.2.0.1"),
        ("collector", "10.3.0.2"),
    ]
    # The collector ignores echoes but refuses a TCP connection: a filter, not a loss.
    line.run("c", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    # The ISP's router ignores echoes as well: its answers to the trace still hold its place.
    line.run("i", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    filtered = line.measure()
    assert (filtered["fault_place"], filtered["loss_pct"], filtered["hops"][-1]["method"]) == ("none", 0.0, "tcp")
    assert "causes" not in filtered or set(filtered["causes"]) <= {"dns"}
    assert filtered["hops"][1]["received"] > 0
    # The collector's cable is out.
    line.run("i", "ip", "link", "set", "toc", "down")
    line.run("i", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0")
    assert line.measure()["fault_place"] == "beyond"
    # The ISP is dark; its router is remembered.
    line.run("r", "ip", "link", "set", "toi", "down")
    dark = line.measure()
    assert (dark["fault_place"], dark["loss_pct"], dark["hops"][1]["target"]) == ("isp", 100.0, "10.2.0.1")
    # The cable to the site's router is out, the route still stands.
    line.run("r", "ip", "link", "set", "toa", "down")
    assert line.measure()["fault_place"] == "lan"
    # The gateway's own port is down, and with it the default route.
    line.run("a", "ip", "link", "set", "tor", "down")
    assert line.measure()["fault_place"] == "lan"
    assert line.measure("") == {"failed": "no_route"}


@pytest.mark.root
def test_a_collector_that_ignores_echoes_is_measured_by_its_measurement_servers_own(line: Line) -> None:
    line.run("c", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    # With it stands what was tried first: echoes.
    with line.measure_server() as url:
        found = line.measure(measure_url=url)
    assert [one["method"] for one in found["hops"] if one["role"] == "collector"] == ["icmp", "udp"]
    far = found["hops"][-1]
    assert (far["role"], far["method"], far["received"], far["sent"]) == ("collector", "udp", 5, 5)
    assert 0 < far["median_ms"] < 500
    assert (found["fault_place"], found["loss_pct"]) == ("none", 0.0)
