"""Which interface and router carry this machine's default route, from Linux's own tables. Parsing is pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

RTF_UP, RTF_GATEWAY, RTF_REJECT = 0x1, 0x2, 0x200  # linux/route.h, linux/ipv6_route.h


@dataclass(frozen=True, kw_only=True)
class Route:
    """`gateway` is None on a line that has no router (a point-to-point link)."""

    interface: str
    gateway: str | None
    metric: int


def default_route() -> Route | None:
    """The default route in force, IPv4 before IPv6; None when there is none (or the tables cannot be read)."""
    routes = parse_ipv4(_text("/proc/net/route")) or parse_ipv6(_text("/proc/net/ipv6_route"))
    return min(routes, key=lambda route: route.metric, default=None)


def parse_ipv4(table: str) -> list[Route]:
    """The default routes in the text of /proc/net/route: addresses are hexadecimal in this machine's byte order."""
    routes = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[1] != "00000000" or fields[7] != "00000000":
            continue
        flags = int(fields[3], 16)
        if flags & RTF_UP and not flags & RTF_REJECT:
            gateway = str(ipaddress.IPv4Address(bytes.fromhex(fields[2])[::-1])) if flags & RTF_GATEWAY else None
            routes.append(Route(interface=fields[0], gateway=gateway, metric=int(fields[6])))
    return routes


def parse_ipv6(table: str) -> list[Route]:
    """The default routes in the text of /proc/net/ipv6_route; a link-local router carries its interface as scope."""
    routes = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 10 or fields[0] != "0" * 32 or fields[1] != "00":
            continue
        flags, interface = int(fields[8], 16), fields[9]
        if not flags & RTF_UP or flags & RTF_REJECT or interface == "lo":
            continue
        router = ipaddress.IPv6Address(bytes.fromhex(fields[4]))
        scope = f"%{interface}" if router.is_link_local else ""
        gateway = f"{router}{scope}" if flags & RTF_GATEWAY else None
        routes.append(Route(interface=interface, gateway=gateway, metric=int(fields[5], 16)))
    return routes


def _text(path: str) -> str:
    try:
        return Path(path).read_text("ascii", "replace")
    except OSError:  # not Linux, or a table switched off: no route is known
        return ""
