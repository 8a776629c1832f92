"""On which line a test ran, how the server sees it, and whose counters told of others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from agent.config import LinkSection, SpeedSection
from agent.probes.link.route import Route
from agent.probes.speed import cross_traffic
from agent.probes.speed.engine import SpeedRequest, Throughput
from agent.probes.speed.line.counters import Counters
from agent.probes.speed.line.idle_check import Load, load_of
from agent.probes.speed.line.wan import WanLine, line_of
from agent.probes.speed.server_view import ServerView, parse_answer, seen_by

ETH, LTE = Route(interface="eth0", gateway="192.0.2.1", metric=1), Route(interface="wwan0", gateway=None, metric=9)


PPP1, WWAN1, ETH1 = (Route(interface=name, gateway=None, metric=1) for name in ("ppp1", "wwan1", "eth1"))


@pytest.mark.parametrize(
    ("route", "link", "line"),
    [
        (None, LinkSection(primary_interface="eth0"), WanLine(None, None)),
        (ETH, LinkSection(), WanLine("eth0", None)),
        (ETH, LinkSection(primary_interface="eth0"), WanLine("eth0", False)),
        (LTE, LinkSection(primary_interface="eth0"), WanLine("wwan0", True)),
        (LTE, LinkSection(failover_interfaces=["wwan0"]), WanLine("wwan0", True)),
        (ETH, LinkSection(failover_interfaces=["wwan0"]), WanLine("eth0", False)),
        (LTE, LinkSection(primary_interface="wwan0", failover_interfaces=["wwan0"]), WanLine("wwan0", True)),
        # Dialled lines are numbered anew: the kind counts, the very name before it; cards keep their names.
        (PPP1, LinkSection(primary_interface="ppp0", failover_interfaces=["wwan0"]), WanLine("ppp1", False)),
        (WWAN1, LinkSection(primary_interface="eth0", failover_interfaces=["wwan0"]), WanLine("wwan1", True)),
        (WWAN1, LinkSection(failover_interfaces=["wwan0"]), WanLine("wwan1", True)),
        (PPP1, LinkSection(primary_interface="ppp0", failover_interfaces=["ppp1"]), WanLine("ppp1", True)),
        (PPP1, LinkSection(primary_interface="ppp1", failover_interfaces=["ppp0"]), WanLine("ppp1", False)),
        (PPP1, LinkSection(primary_interface="ppp2", failover_interfaces=["ppp0"]), WanLine("ppp1", True)),
        (PPP1, LinkSection(primary_interface="p*"), WanLine("ppp1", False)),
        (ETH1, LinkSection(primary_interface="eth0"), WanLine("eth1", True)),
        (ETH1, LinkSection(primary_interface="eth[0-3]"), WanLine("eth1", False)),
        (ETH1, LinkSection(failover_interfaces=["w*", "eth1"]), WanLine("eth1", True)),
    ],
)
def test_the_backup_line_is_known_by_what_the_settings_name(
    route: Route | None, link: LinkSection, line: WanLine
) -> None:
    assert line_of(route, link) == line


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b'{"processedString":"203.0.113.9","rawIspInfo":""}', ServerView(address="203.0.113.9")),
        (
            b'{"processedString":"203.0.113.9 - Example Telecom, PK","rawIspInfo":{}}',
            ServerView(address="203.0.113.9", network="Example Telecom, PK"),
        ),
        (
            b'{"processedString":"2001:db8::9 - Shown","rawIspInfo":{"org":"AS64500  Example"}}',
            ServerView(address="2001:db8::9", network="AS64500 Example"),
        ),
        (b'3c\r\n{"processedString":"203.0.113.9 - X"}\r\n0\r\n\r\n', ServerView(address="203.0.113.9", network="X")),
        (b"203.0.113.9\n", ServerView(address="203.0.113.9")),
        (b'{"processedString":"<b>me</b>"}', ServerView()),
        (b'{"processedString":7,"rawIspInfo":[]}', ServerView()),
        (b"{", ServerView()),
        (b"{}", ServerView()),
        (b"\xff\xfe", ServerView()),
        (b"", ServerView()),
        (b"[" * 9000 + b"{" * 9000 + b"}", ServerView()),
        (
            b'{"processedString":"203.0.113.9 - ' + b"x" * 9000 + b'"}',
            ServerView(address="203.0.113.9", network="x" * 200),
        ),
    ],
)
def test_what_the_server_says_of_us_is_read_and_nothing_else(body: bytes, seen: ServerView) -> None:
    assert parse_answer(body) == seen


@pytest.mark.parametrize("server", ["public", "iperf3://x", "http://127.0.0.1:1", ""])
def test_a_server_that_cannot_be_asked_says_nothing(server: str) -> None:
    assert asyncio.run(seen_by(server)) == ServerView()


# ---------------------------------------------------------------- whose counters


def finding(request: SpeedRequest) -> Throughput:
    return Throughput(
        engine="e",
        engine_version="1",
        server="s",
        mode="quick",
        download_mbps=9.0,
        capacity_down_mbps=18.0,
        cross_traffic_down_pct=50.0,
        flags=("cross_traffic",),
    )


def test_a_gateway_that_does_not_see_all_traffic_tells_no_capacity() -> None:
    result = cross_traffic.measure(finding, SpeedRequest(server="s"), SpeedSection(inline="no"))
    assert result.others_from is None
    assert (result.found.capacity_down_mbps, result.found.cross_traffic_down_pct) == (None, None)
    assert result.found.download_mbps == 9.0
    assert result.found.flags == ("cross_traffic", "others_unseen")


def test_a_gateway_that_carries_all_traffic_tells_it_by_its_own_interface() -> None:
    result = cross_traffic.measure(finding, SpeedRequest(server="s"), SpeedSection(inline="yes"))
    assert result == cross_traffic.MeasuredWithOthers(finding(SpeedRequest(server="s")), "interface")


def test_an_engine_that_counts_nobody_says_so_and_does_not_blame_the_router(free_port: int) -> None:
    def ookla(request: SpeedRequest) -> Throughput:
        return Throughput(engine="ookla", engine_version="1", server="s", mode="quick", download_mbps=9.0)

    speed = SpeedSection(router_host="127.0.0.1", router_port=free_port, router_interface="wan")
    for engine, flags in ((ookla, ("others_unseen",)), (asking, ("others_unseen", "router_silent"))):
        result = cross_traffic.measure(engine, SpeedRequest(server="s"), speed)
        assert (result.others_from, result.found.flags) == (None, flags)


def asking(request: SpeedRequest) -> Throughput:
    """An engine that asks for others' counters and, told nothing, has no capacity."""
    read: Callable[[], Counters | None] = request.others.read if request.others else lambda: None
    capacity = None if read() is None else 9.0
    return Throughput(engine="e", engine_version="1", server="s", mode="quick", capacity_down_mbps=capacity)


# ---------------------------------------------------------------- the line before a test


def test_the_lines_load_is_what_its_counters_moved_and_unknown_when_they_were_reset() -> None:
    before, after = Counters(rx=0, tx=0), Counters(rx=3_000_000, tx=750_000)
    assert load_of(before, after, 3.0) == Load(down_mbps=8.0, up_mbps=2.0)
    assert load_of(after, before, 3.0) is None
    assert load_of(before, after, 0.0) is None
