"""The default route out of Linux's tables."""

from __future__ import annotations

from agent.probes.link.route import Route, parse_ipv4, parse_ipv6

HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"


def test_the_router_is_read_in_this_machines_byte_order() -> None:
    table = HEAD + "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    assert parse_ipv4(table) == [Route(interface="eth0", gateway="192.168.1.1", metric=100)]


def test_a_route_to_a_network_or_a_rejecting_one_is_no_default() -> None:
    table = HEAD + "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    table += "lo\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n"
    table += "eth1\t00000000\t0101A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\nhalf a line\n"
    assert parse_ipv4(table) == []


def test_a_point_to_point_line_has_no_router() -> None:
    table = HEAD + "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
    assert parse_ipv4(table) == [Route(interface="ppp0", gateway=None, metric=0)]


def test_a_link_local_router_carries_its_interface() -> None:
    nothing, router = "0" * 32, "fe800000000000000000000000000001"
    line = f"{nothing} 00 {nothing} 00 {router} 00000400 00000001 00000000 00000003 eth0\n"
    local = f"{nothing} 00 {nothing} 00 {nothing} ffffffff 00000001 00000000 00200200 lo\n"
    assert parse_ipv6(line + local) == [Route(interface="eth0", gateway="fe80::1%eth0", metric=1024)]
