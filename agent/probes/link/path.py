"""The path to a target as it was last seen: its addresses and the ISP's first hops. Kept in the state folder, so that a
line that is down still has hops to be silent, and a hijacked name still has the address it had."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from agent.common.errors import describe
from agent.probes.link.ping import addresses_of
from agent.probes.link.trace import Router, trace

FILE = "link.json"
NOWHERE = "203.0.113.1"  # RFC 5737: nobody's; packets towards it die of their TTL at the ISP
MOST_REMEMBERED = 8
TRACE_TRIES, TRACE_S = 2, 1.0


@dataclass(frozen=True, kw_only=True)
class PathFound:
    """What was found of the path to a target. `addresses`, one a family, the system's choice first; `isp`, nearest
    first; `router`: whether a router of the site's own stood on it; `proven`: whether the far end has proven itself."""

    target: str = ""
    addresses: tuple[str, ...] = ()
    isp: tuple[str, ...] = ()
    router: bool = True
    proven: bool = False


@dataclass(frozen=True, kw_only=True)
class PathLook:
    """One look at the path: what the system says now; `resolves`: whether it has an address for the target."""

    path: PathFound
    routers: tuple[Router, ...] = ()
    resolves: bool = True


async def look(host: str, lan: str | None, kept: PathFound, max_ttl: int, explain: Callable[[str], None]) -> PathLook:
    """The path now. Without an address now, towards the one it had: a dead name server is not yet a dead line."""
    resolves = True
    try:
        addresses = [entry[1][0] for entry in await addresses_of(host)]
    except OSError as error:
        explain(f"{host} has no address ({describe(error)}); last known: {', '.join(kept.addresses) or 'none'}")
        addresses, resolves = list(kept.addresses), False
    family, point = (await addresses_of(addresses[0] if addresses else NOWHERE))[0]
    routers = await trace(family, point, max_ttl, TRACE_TRIES, TRACE_S)
    explain("routers: " + (", ".join(f"{one.ttl} {one.address}" for one in routers) or "none answered"))
    isp = tuple(one.address for one in routers if one.address not in (lan, *addresses))
    path = PathFound(target=host, addresses=tuple(addresses), isp=isp, router=lan is not None)
    return PathLook(path=path, routers=tuple(routers), resolves=resolves)


def remember(kept: PathFound, path: PathFound) -> PathFound:
    """Pure. New hops first, older ones kept behind them: an ISP that balances over two routers is then written once."""
    addresses = path.addresses or kept.addresses
    known = set(path.isp) <= set(kept.isp) and addresses == kept.addresses
    if known and (path.router, path.proven or kept.proven) == (kept.router, kept.proven):
        return kept
    older = tuple(address for address in kept.isp if address not in path.isp)
    isp = (path.isp + older)[:MOST_REMEMBERED]
    return replace(path, addresses=addresses, isp=isp, proven=path.proven or kept.proven)


def recall(file: Path, target: str) -> PathFound:
    """What was remembered of the path to this target; nothing when there is no such file or it is not ours."""
    kept = read_path(file)
    return kept if kept.target == target else PathFound(target=target)


def read_path(file: Path) -> PathFound:
    """What was remembered, also by an agent before 0.3, which knew one address."""
    try:
        row = json.loads(file.read_bytes())
        target, isp = row["target"], row["isp"]
        addresses = row["addresses"] if "addresses" in row else [row["address"]]
        router, proven = row.get("router", True), row.get("proven", False)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return PathFound()
    if not isinstance(target, str) or not isinstance(router, bool) or not isinstance(proven, bool):
        return PathFound()
    if not all(isinstance(names, list) and all(map(is_address, names)) for names in (addresses, isp)):
        return PathFound()
    isp = tuple(isp[:MOST_REMEMBERED])
    return PathFound(target=target, addresses=tuple(addresses[:2]), isp=isp, router=router, proven=proven)


def is_address(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return False


def write_path(file: Path, path: PathFound) -> None:
    """Best effort, unsynced: losing it costs the name of a place once, and a test run may not write there."""
    row = {key: getattr(path, key) for key in ("target", "addresses", "isp", "router", "proven")}
    with contextlib.suppress(OSError):
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(row), "utf-8")
        fresh.replace(file)


def ttl_before(address: str, look: PathLook, lan: str | None) -> int:
    """How many routers are known to stand before this address, so that a packet which gets no farther cannot reach
    it; 0: none is known."""
    same = [one for one in look.routers if (":" in one.address) == (":" in address) and one.address != address]
    if same:
        return max(one.ttl for one in same)
    return 1 if lan not in (None, address) and (":" in str(lan)) == (":" in address) and not _is_on_link(address) else 0


def _is_on_link(address: str) -> bool:
    """Whether it is this machine's, or in a network of one of its interfaces."""
    wanted = ipaddress.ip_address(address.partition("%")[0])
    for entries in psutil.net_if_addrs().values():
        for entry in entries:
            with contextlib.suppress(ValueError):
                own = entry.address.partition("%")[0]
                if wanted in ipaddress.ip_network(f"{own}/{_prefix(entry.netmask or own)}", strict=False):
                    return True
    return False


def _prefix(mask: str) -> int:
    """The length of a netmask, of either family. Raises ValueError."""
    return bin(int(ipaddress.ip_address(mask))).count("1")


async def reachable(addresses: Sequence[str]) -> list[str]:
    """Those of a family that this machine has a route for; all when it has none for any."""
    routed = [address for address in addresses if await asyncio.to_thread(_has_route, address)]
    return routed or list(addresses)


def _has_route(address: str) -> bool:
    """Asks the kernel; nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, 9))
    except OSError:
        return False
    return True
