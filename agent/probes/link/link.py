"""A WAN line's idle latency, jitter and loss, hop by hop: the site's router, the ISP's first hops, the collector.

1. Recall the path: the default route, the target's addresses, the routers behind the site's own; look at it anew
   meanwhile (agent.probes.link.path), and ask the system's name servers (agent.probes.link.names).
2. Send echoes to all of them at once. A router that ignores echoes but answered the trace is judged by those answers;
   what counts at the far end, and who it is that answers there, is agent.probes.link.far_end's.
3. Try a packet of the line's full size (agent.probes.link.mtu).
4. Locate a fault: at the first place from which on everything is as lossy as the far end.
"""

from __future__ import annotations

import asyncio
import ipaddress
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent.common.causes import LineCause
from agent.common.errors import describe
from agent.config import LinkSection
from agent.identity import CA_FILE
from agent.probes.link import far_end, names, path
from agent.probes.link.far_end import FarMeans, FarSeen, LinkTarget
from agent.probes.link.mtu import PathMtu, acknowledges, believed_bytes, path_mtu
from agent.probes.link.names import NamesSeen
from agent.probes.link.path import FILE, NOWHERE, PathFound, PathLook
from agent.probes.link.ping import Echoes, echo_lost, ping, resolve, summary
from agent.probes.link.route import default_route
from agent.probes.probe import Context, ProbeFailed
from agent.wire import Hop, LinkReading, Reading

FALLBACK_PORT = 443
FAULT_SHARE = 0.1  # of the echoes to the far end: with less lost, no place is blamed
MOST_HOPS = 16
DEAD_SHARE = 0.5  # so much more lost by one address family than by the other: it is dead

Role = Literal["lan", "isp", "collector"]
Place = Literal["none", "lan", "isp", "beyond"]


async def probe(context: Context) -> Sequence[Reading]:
    """One LinkReading. Raises ProbeFailed (``no_route``) when there is neither a router nor a target to probe."""
    settings = context.settings.link
    route, target = default_route(), target_of(context)
    lan = route.gateway if route else None
    if route is None and target is None:
        raise ProbeFailed(
            "no_route", "this machine has no default route and no target: plug in the line, or set link.target"
        )
    context.explain(f"router {lan or 'none'}; target {f'{target.host}:{target.port}' if target else 'none'}")
    file = context.settings.state_dir / FILE
    kept = path.recall(file, target.host if target else NOWHERE)
    async with asyncio.TaskGroup() as group:
        resolving = group.create_task(names.look_up(_name_to_resolve(context, target), names.of_system()))
        looking = group.create_task(path.look(kept.target, lan, kept, settings.isp_hops + 1, context.explain))
        if not kept.isp or not kept.addresses:  # else the moment of the echoes would depend on how the line is
            await looking
        along = path.remember(kept, looking.result().path) if looking.done() else kept
        near = group.create_task(_near_hops(context, lan, along, looking))
        seen = [] if target is None else await _far_ends(context, target, along, lan, looking)
    look = looking.result()
    far = judge_far(seen, kept, look)
    remembered = path.remember(kept, far.path)
    if remembered != kept and remembered.addresses:
        path.write_path(file, remembered)
    facts = LinkFound(
        router=kept.router if route is None else lan is not None,
        has_route=route is not None,
        near=tuple(near.result()),
        far=far,
        mtu=await _path_mtu(far.main, target),
        names=_judged_names(resolving.result(), target, look),
    )
    made = reading(settings.name, facts)
    for one in made.hops:
        context.explain(f"{one.role:<9} {one.target:<15} {one.method}  {one.received}/{one.sent}  {one.median_ms} ms")
    context.explain(f"path MTU {made.path_mtu_bytes}; names {made.names_ms} ms by {made.names_by}; {made.causes}")
    return [made]


# ---------------------------------------------------------------- judging


@dataclass(frozen=True, kw_only=True)
class FarFound:
    """What was seen of the far end: `main` counts, `others` were tried. `path` is what is to be remembered;
    `hijacked`: its name leads to another's address now."""

    main: FarSeen | None
    others: tuple[FarSeen, ...] = ()
    causes: tuple[LineCause, ...] = ()
    path: PathFound


@dataclass(frozen=True, kw_only=True)
class LinkFound:
    """All that a round found. `router`: whether the site has a router of its own between this machine and the line;
    `has_route`: whether there is a default route now."""

    router: bool
    has_route: bool = True
    near: tuple[Hop, ...]
    far: FarFound
    mtu: PathMtu
    names: NamesSeen


def judge_far(seen: Sequence[FarSeen], kept: PathFound, look: PathLook) -> FarFound:
    """Pure. Which address counts: the system's first, or the other family's where that one is dead; the one the target
    had where its name leads astray."""
    now, before = (
        [entry for entry in seen if entry.address in addresses] for addresses in (look.path.addresses, kept.addresses)
    )
    hijacked = bool(before and now) and not any(entry in before for entry in now) and is_astray(now, before)
    tried = before if hijacked else now or list(seen)
    proven = kept.proven or any(entry.answerer == "far_end" for entry in seen)
    current_path = replace(look.path, proven=proven)
    if not tried:
        return FarFound(main=None, path=current_path)
    main = tried[0]
    for entry in tried[1:]:
        main = entry if _lost(entry) + DEAD_SHARE <= _lost(main) else main
    dead: list[LineCause] = [
        "ipv6_dead" if ":" in entry.address else "ipv4_dead"
        for entry in tried
        if _lost(entry) >= _lost(main) + DEAD_SHARE
    ]
    causes: list[LineCause] = [main.impostor] if main.impostor else []
    causes += ["dns"] if hijacked else []
    return FarFound(
        main=main,
        others=tuple(entry for entry in tried if entry is not main),
        causes=(*causes, *dead),
        path=replace(current_path, addresses=kept.addresses) if hijacked else current_path,
    )


def is_astray(now: Sequence[FarSeen], before: Sequence[FarSeen]) -> bool:
    """Pure. Whether a name's new addresses are somebody else's: an impostor's, of a private network where the old ones
    were of the Internet (RFC 1918), or without the proof that the old ones give."""
    masked = any(entry.impostor for entry in now)
    private = any(_is_private(entry.address) for entry in now) and not any(_is_private(old.address) for old in before)
    proof = any(old.answerer == "far_end" for old in before) and not any(new.answerer == "far_end" for new in now)
    return masked or private or proof


def _is_private(address: str) -> bool:
    return not ipaddress.ip_address(address.partition("%")[0]).is_global


def _lost(seen: FarSeen) -> float:
    return echo_lost(seen.counts)


def reading(subject: str, facts: LinkFound) -> LinkReading:
    """Pure."""
    far, main = facts.far, facts.far.main
    tried = [*(entry.counts for entry in far.others), *(main.methods if main else [])]
    hops = [*facts.near, *(hop("collector", echoes) for echoes in tried)]
    figures = summary(main.counts if main else Echoes(target="", method="icmp", rtts_ms=()))
    return LinkReading(
        subject=subject,
        rtt_min_ms=figures.min_ms,
        rtt_median_ms=figures.median_ms,
        rtt_p95_ms=figures.p95_ms,
        jitter_ms=figures.jitter_ms,
        loss_pct=figures.loss_pct,
        fault_place=place_of(facts, hops),
        hops=hops[-MOST_HOPS:],
        causes=list(causes_of(facts)),
        path_mtu_bytes=facts.mtu.largest_bytes,
        names_ms=facts.names.ms,
        names_failed_pct=facts.names.failed_pct,
        names_by=facts.names.by,
        names_silent=list(facts.names.silent),
    )


def causes_of(facts: LinkFound) -> list[LineCause]:
    """Pure. Names that do not resolve are a cause while the line carries: on a dead one nothing resolves. Where the
    target never had an address, the ISP's hops tell."""
    main = facts.far.main
    if main is not None and path.is_address(main.address):
        carries = _lost(main) < 1
    else:
        carries = any(one.received for one in facts.near if one.role == "isp")
    causes = list(facts.far.causes)
    if carries and facts.names.failed_pct == 100 and "dns" not in causes:
        causes.append("dns")
    if facts.mtu.is_black_hole:
        causes.append("mtu")
    return causes


def place_of(facts: LinkFound, hops: Sequence[Hop]) -> Place | None:
    """Pure. Where the fault is. An impostor stands somewhere before the far end, and a name without any address says
    nothing of the line. Without a default route the site's own network has failed, or, where a modem is the line,
    nobody knows what."""
    main = facts.far.main
    place = place_fault(hops, router=facts.router)
    if place != "none" and not facts.has_route:
        return "lan" if facts.router else None
    unknown = main is not None and (main.impostor is not None or not path.is_address(main.address))
    return None if place == "beyond" and unknown else place


def place_fault(hops: Sequence[Hop], *, router: bool = True) -> Place | None:
    """Pure. Where the path breaks: at the first hop from which on every hop loses at least half of what the far end
    loses. A quiet hop with lively ones behind it is a filter, not a fault. None: it is unknown, because the line
    is not measured to its far end, or no hop of the ISP is known that would part *isp* from *beyond*. A line that has
    no `router` of the site's own (PPPoE, a modem) is the ISP's from this machine on.
    """
    if not hops or hops[-1].role != "collector":
        return "lan" if hops and all(_loss(one) > FAULT_SHARE for one in hops) and hops[0].role == "lan" else None
    far = _loss(hops[-1])
    if far <= FAULT_SHARE:
        return "none"
    along = [one for one in hops if one.role != "collector"]  # what else was tried at the far end is no hop before it
    first = len(along)
    while first > 0 and _loss(along[first - 1]) >= far / 2:
        first -= 1
    roles = {one.role for one in along}
    if "lan" not in roles and router:
        return "lan"
    if first < len(along):
        return "lan" if along[first].role == "lan" else "isp"
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


# ---------------------------------------------------------------- what is asked


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
        tls_port = context.collector_tls_port if parts.hostname == context.collector_host else 0
        return LinkTarget(host=parts.hostname, port=port, measure_url=same or "", tls_port=tls_port)
    except ValueError as error:
        raise ProbeFailed(
            "bad_target", f"link.target {text[:60]!r} is not HOST or HOST:PORT: {describe(error)}"
        ) from None


def _name_to_resolve(context: Context, target: LinkTarget | None) -> str:
    """Empty: none is."""
    if target is not None and not path.is_address(target.host):
        return target.host
    return context.settings.link.lookup


def _judged_names(lookups: Sequence[names.Lookup], target: LinkTarget | None, look: PathLook) -> NamesSeen:
    is_targets = target is not None and not path.is_address(target.host)
    return names.judge_names(lookups, names.of_system().wait_s, known=is_targets and look.resolves)


async def _near_hops(context: Context, lan: str | None, along: PathFound, looking: asyncio.Task[PathLook]) -> list[Hop]:
    settings = context.settings.link
    roles: list[tuple[Role, str]] = [("lan", lan)] if lan is not None else []
    roles += [("isp", address) for address in along.isp[: settings.isp_hops]]
    echoes = await asyncio.gather(*(_echo(address, looking, settings) for _role, address in roles))
    return [hop(role, echo) for (role, _address), echo in zip(roles, echoes, strict=True)]


async def _echo(address: str, looking: asyncio.Task[PathLook], settings: LinkSection) -> Echoes:
    """Echoes to a router; its answers to the trace stand in when it ignores echoes."""
    try:
        echoes = await ping(address, settings.probes, settings.interval_ms / 1000, settings.timeout_s)
    except OSError:  # a remembered address that is none: as silent as a hop can be
        return Echoes(target=address, method="icmp", rtts_ms=(None,) * settings.probes)
    routers = (await looking).routers
    traced = next((router.rtts_ms for router in routers if router.address == address), ())
    if any(rtt is not None for rtt in echoes.rtts_ms) or not any(rtt is not None for rtt in traced):
        return echoes
    return Echoes(target=address, method="icmp", rtts_ms=tuple(traced))


async def _far_ends(
    context: Context, target: LinkTarget, along: PathFound, lan: str | None, looking: asyncio.Task[PathLook]
) -> list[FarSeen]:
    """Every address of the target that this machine has a route for; where they have all changed, the old ones and the
    new. Unresolvable is unreachable: all lost."""
    settings = context.settings.link
    means = FarMeans(
        target=target,
        count=settings.probes,
        interval_s=settings.interval_ms / 1000,
        timeout_s=settings.timeout_s,
        ca_file=context.settings.speed.ca_file,
        root=context.settings.state_dir / CA_FILE if target.tls_port else None,
        proven=along.proven,
    )
    if not along.addresses:
        nothing = Echoes(target=target.host[:200], method="icmp", rtts_ms=(None,) * means.count)
        return [FarSeen(address=target.host[:200], first=nothing)]
    first = await path.reachable(along.addresses)
    seen = await asyncio.gather(*(far_end.ask(means, address) for address in first))
    look = await looking
    if not set(look.path.addresses) & set(along.addresses):
        fresh = await path.reachable(look.path.addresses)
        seen += await asyncio.gather(*(far_end.ask(means, address) for address in fresh))
    reach = [path.ttl_before(entry.address, look, lan) for entry in seen]
    return list(
        await asyncio.gather(*(far_end.unmask(entry, means, ttl) for entry, ttl in zip(seen, reach, strict=True)))
    )


async def _path_mtu(main: FarSeen | None, target: LinkTarget | None) -> PathMtu:
    """Towards a far end that is there. Where echoes are dropped, by the measurement server's TCP alone."""
    if main is None or target is None or main.impostor or echo_lost(main.counts) == 1:
        return PathMtu()
    if echo_lost(main.first) < 1 and main.first.method == "icmp":
        return await path_mtu(main.address, target.port)
    if not target.measure_url:
        return PathMtu()
    family, point = await resolve(main.address, target.port)
    return PathMtu(is_black_hole=await acknowledges(family, point, believed_bytes(family, point)) is False)
