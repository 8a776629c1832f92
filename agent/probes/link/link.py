"""A WAN line's idle latency, jitter and loss, hop by hop: the site's router, the ISP's first hops, the collector.

1. Find the path: the default route, the target's address, the routers behind the site's own (agent.probes.link.trace).
2. Send echoes to all of them at once. A router that ignores echoes but answered the trace is judged by those answers; a
   target that ignores them is measured by its measurement server's UDP echo, or by the TCP connections it takes: a
   filter is not a loss.
3. Locate a fault: at the first place from which on everything is as lossy as the far end.

The path is kept in the state folder, so that a line that is down still has hops to be silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import urllib.parse
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.common.errors import describe
from agent.probes.link.echo_cookie import ask_cookie
from agent.probes.link.ping import Echoes, ping, resolve, summary, tcp_ping, udp_ping
from agent.probes.link.route import default_route
from agent.probes.link.trace import Router, trace
from agent.probes.probe import Context, ProbeFailed
from agent.wire import Hop, LinkReading, Reading

TIMEOUT_S = 1.0  # an answer later than this counts as lost
TRACE_TRIES = 2
NOWHERE = "203.0.113.1"  # RFC 5737: nobody's; packets towards it die of their TTL at the ISP
FALLBACK_PORT = 443
FAULT_SHARE = 0.1  # of the echoes to the far end: with less lost, no place is blamed
MOST_REMEMBERED = 8
FILE = "link.json"

Role = Literal["lan", "isp", "collector"]
Place = Literal["none", "lan", "isp", "beyond"]


@dataclass(frozen=True, kw_only=True)
class LinkTarget:
    """Where the line is measured to. `port` serves TCP when the host ignores echoes; `measure_url` is the measurement
    server on that host, if there is one."""

    host: str
    port: int = FALLBACK_PORT
    measure_url: str = ""


@dataclass(frozen=True, kw_only=True)
class PathFound:
    """What was found of the path to a target; addresses, nearest first."""

    target: str = ""
    address: str | None = None
    isp: tuple[str, ...] = ()


async def probe(context: Context) -> Sequence[Reading]:
    """One LinkReading. Raises ProbeFailed (``no_route``) when there is neither a router nor a target to probe."""
    settings = context.settings.link
    route, target = default_route(), target_of(context)
    lan = route.gateway if route else None
    if lan is None and target is None:
        raise ProbeFailed(
            "no_route", "this machine has no default route and no target: plug in the line, or set link.target"
        )
    context.explain(f"router {lan or 'none'}; target {f'{target.host}:{target.port}' if target else 'none'}")
    path, routers = await find_path(context, lan, target)
    count, interval_s = settings.probes, settings.interval_ms / 1000
    pending: list[tuple[Role, Awaitable[Echoes]]] = []
    if lan is not None:
        pending.append(("lan", _echo(lan, routers, count, interval_s)))
    pending += [("isp", _echo(address, routers, count, interval_s)) for address in path.isp[: settings.isp_hops]]
    if target is not None:
        ca_file = context.settings.speed.ca_file
        pending.append(("collector", _reach(target, path.address, count, interval_s, ca_file)))
    echoes = await asyncio.gather(*(echo for _role, echo in pending))
    hops = [hop(role, echo) for (role, _wanted), echo in zip(pending, echoes, strict=True)]
    for one in hops:
        context.explain(f"{one.role:<9} {one.target:<15} {one.method}  {one.received}/{one.sent}  {one.median_ms} ms")
    return [reading(settings.name, hops, echoes[-1])]


def reading(subject: str, hops: list[Hop], far: Echoes) -> LinkReading:
    figures = summary(far)
    return LinkReading(
        subject=subject,
        rtt_min_ms=figures.min_ms,
        rtt_median_ms=figures.median_ms,
        rtt_p95_ms=figures.p95_ms,
        jitter_ms=figures.jitter_ms,
        loss_pct=figures.loss_pct,
        fault_place=place_fault(hops),
        hops=hops,
    )


def place_fault(hops: Sequence[Hop]) -> Place | None:
    """Pure. Where the path breaks: at the first hop from which on every hop loses at least half of what the far end
    loses. A quiet hop with lively ones behind it is a filter, not a fault. None: it is unknown, because the line
    is not measured to its far end, or no hop of the ISP is known that would part *isp* from *beyond*.
    """
    if not hops or hops[-1].role != "collector":
        return "lan" if hops and all(_loss(one) > FAULT_SHARE for one in hops) and hops[0].role == "lan" else None
    far = _loss(hops[-1])
    if far <= FAULT_SHARE:
        return "none"
    first = len(hops) - 1
    while first > 0 and _loss(hops[first - 1]) >= far / 2:
        first -= 1
    roles = {one.role for one in hops}
    if hops[first].role == "lan" or "lan" not in roles:
        return "lan"
    if hops[first].role == "isp":
        return "isp"
    return "beyond" if "isp" in roles else None


def _loss(one: Hop) -> float:
    return 1 - one.received / one.sent if one.sent else 1.0


def hop(role: Role, echoes: Echoes) -> Hop:
    figures = summary(echoes)
    return Hop(
        role=role,
        target=echoes.target,
        method=echoes.method,
        sent=figures.sent,
        received=figures.received,
        min_ms=figures.min_ms,
        median_ms=figures.median_ms,
        p95_ms=figures.p95_ms,
        jitter_ms=figures.jitter_ms,
    )


# ---------------------------------------------------------------- the path


def target_of(context: Context) -> LinkTarget | None:
    """`link.target` or the collector, ``HOST`` or ``HOST:PORT``; without a port, the measurement server's on that host.
    Raises ProbeFailed (``bad_target``)."""
    text = context.settings.link.target or context.collector_host or ""
    if not text:
        return None
    try:
        parts = urllib.parse.urlsplit(f"//{text}" if text.count(":") < 2 or text.startswith("[") else f"//[{text}]")
        measure = urllib.parse.urlsplit(context.measure_url or "")
        if not parts.hostname or parts.path:
            raise ValueError("no host name in it")
        same = context.measure_url if measure.hostname == parts.hostname else None
        port = parts.port or (measure.port if same else None) or FALLBACK_PORT
        return LinkTarget(host=parts.hostname, port=port, measure_url=same or "")
    except ValueError as error:
        raise ProbeFailed(
            "bad_target", f"link.target {text[:60]!r} is not HOST or HOST:PORT: {describe(error)}"
        ) from None


async def find_path(context: Context, lan: str | None, target: LinkTarget | None) -> tuple[PathFound, list[Router]]:
    """The path now, with what was kept where the line does not show it; and the routers that answered."""
    file = context.settings.state_dir / FILE
    towards = target.host if target else NOWHERE
    kept = read_path(file)
    kept = kept if kept.target == towards else PathFound(target=towards)
    address = await address_of(towards, kept.address, context.explain)
    family, point = await resolve(address or NOWHERE)
    routers = await trace(family, point, context.settings.link.isp_hops + 1, TRACE_TRIES, TIMEOUT_S)
    context.explain("routers: " + (", ".join(f"{one.ttl} {one.address}" for one in routers) or "none answered"))
    isp = tuple(one.address for one in routers if one.address not in (lan, point[0]))
    found = PathFound(target=towards, address=address, isp=isp)
    path = remember(kept, found)
    if path != kept and path.address is not None:
        write_path(file, path)
    return (found if isp else path), routers


async def address_of(host: str, kept: str | None, explain: Callable[[str], None]) -> str | None:
    """The host's address now, or else the one it had: a dead name server is not yet a dead line."""
    try:
        _family, address = await resolve(host)
    except OSError as error:
        explain(f"{host} has no address ({describe(error)}); last known: {kept or 'none'}")
        return kept
    return address[0]


def remember(kept: PathFound, found: PathFound) -> PathFound:
    """Pure. New hops first, older ones kept behind them: an ISP that balances over two routers is then written once."""
    if set(found.isp) <= set(kept.isp) and found.address == kept.address:
        return kept
    older = tuple(address for address in kept.isp if address not in found.isp)
    return PathFound(target=found.target, address=found.address, isp=(found.isp + older)[:MOST_REMEMBERED])


def read_path(file: Path) -> PathFound:
    """What was remembered; nothing when there is no such file or it is not ours."""
    try:
        row = json.loads(file.read_bytes())
        target, address, isp = row["target"], row["address"], row["isp"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return PathFound()
    if not isinstance(isp, list) or not isinstance(target, str) or not all(map(_is_address, (address, *isp))):
        return PathFound()
    return PathFound(target=target, address=address, isp=tuple(isp[:MOST_REMEMBERED]))


def _is_address(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def write_path(file: Path, path: PathFound) -> None:
    """Best effort, unsynced: losing it costs the name of a place once, and a test run may not write there."""
    with contextlib.suppress(OSError):
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps({"target": path.target, "address": path.address, "isp": path.isp}), "utf-8")
        fresh.replace(file)


# ---------------------------------------------------------------- asking


async def _echo(address: str, routers: Sequence[Router], count: int, interval_s: float) -> Echoes:
    """Echoes to a router; its answers to the trace stand in when it ignores echoes."""
    try:
        echoes = await ping(address, count, interval_s, TIMEOUT_S)
    except OSError:  # a remembered address that is none: as silent as a hop can be
        return Echoes(target=address, method="icmp", rtts_ms=(None,) * count)
    traced = next((router.rtts_ms for router in routers if router.address == address), ())
    if any(rtt is not None for rtt in echoes.rtts_ms) or not any(rtt is not None for rtt in traced):
        return echoes
    return Echoes(target=address, method="icmp", rtts_ms=tuple(traced))


async def _reach(target: LinkTarget, address: str | None, count: int, interval_s: float, ca_file: str) -> Echoes:
    """Echoes to the target; when it takes none, by its measurement server's echo, else by TCP. Unresolvable is
    unreachable: all lost."""
    if address is None:
        return Echoes(target=target.host[:200], method="icmp", rtts_ms=(None,) * count)
    echoes = await ping(address, count, interval_s, TIMEOUT_S, tcp_port=target.port)
    if echoes.method == "icmp" and any(rtt is not None for rtt in echoes.rtts_ms):
        return echoes
    cookie = await ask_cookie(target.measure_url, ca_file) if target.measure_url else None
    if cookie is not None:
        by_udp = await udp_ping(address, cookie.port, cookie.value, count, interval_s, TIMEOUT_S)
        if any(rtt is not None for rtt in by_udp.rtts_ms):
            return by_udp
    if echoes.method == "tcp":
        return echoes
    by_tcp = await tcp_ping(address, target.port, count, interval_s, TIMEOUT_S)
    return by_tcp if any(rtt is not None for rtt in by_tcp.rtts_ms) else echoes
