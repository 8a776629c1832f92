"""What is wrong with the line, its names and its packets' size: one look of the link probe, read for people."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from agent.common.causes import LineCause
from agent.common.errors import describe
from agent.diagnostics.diagnosis import Diagnosis, Installation
from agent.probes import PROBES
from agent.probes.probe import Context, ProbeFailed
from agent.wire import KINDS, LinkReading

REMEMBERED = "link.json"

# What is found, and what to do about it.
FINDINGS: Mapping[LineCause, tuple[str, str]] = {
    "portal": (
        "a portal or another server answers in the far end's place",
        "open a web page on this network and see what it asks for: often a login, or a bill to pay",
    ),
    "filtered": (
        "a firewall on the way refuses in the far end's place",
        "let this port out of the center's network, or ask the provider who blocks it",
    ),
    "dns": (
        "names do not resolve, or lead to another's address",
        "set a name server that works in the router and in /etc/resolv.conf, then ask the provider about its own",
    ),
    "mtu": (
        "packets of full size vanish on the way without a word",
        "clamp TCP's MSS to the path MTU on the router, or lower the MTU of its WAN side; let ICMP through",
    ),
    "ipv4_dead": ("IPv4 carries nothing, IPv6 does", "ask the provider; until then the other family is used"),
    "ipv6_dead": (
        "IPv6 carries nothing, IPv4 does",
        "switch IPv6 off in the router or ask the provider: each connection tries it first",
    ),
}


def check(here: Installation) -> Iterator[Diagnosis]:
    """Names, path MTU, portals: only where there is a far end to measure to."""
    mine = here.mine
    if mine is None and not here.settings.link.target:
        return
    context = Context(
        settings=here.settings,
        deadline_s=KINDS["link"].deadline_s,
        collector_host=mine.broker_host if mine else None,
        measure_url=mine.measure_url if mine else None,
    )
    try:
        yield from findings(context)
    except (ProbeFailed, OSError) as error:
        yield Diagnosis(what="line", detail=describe(error), fix="try `nabz-agent probe link --explain`")


def findings(context: Context) -> Iterator[Diagnosis]:
    """Measures the line once, in a folder of its own: nothing is written where the agent keeps its state. Raises
    ProbeFailed, OSError."""
    reading = _measured(context)
    yield from _names(reading)
    if reading.path_mtu_bytes is not None and "mtu" not in reading.causes:
        yield Diagnosis(what="path MTU", detail=f"packets of {reading.path_mtu_bytes} bytes get through")
    yield from (_cause(cause, reading) for cause in FINDINGS if cause in reading.causes)
    if reading.loss_pct is not None and not reading.causes:
        detail = f"{reading.loss_pct:g} % lost, fault {reading.fault_place or 'unknown'}"
        fix = (
            ""
            if reading.fault_place == "none"
            else "look at the place named, then run `nabz-agent probe link --explain`"
        )
        yield Diagnosis(what="line", detail=detail, fix=fix)


def _measured(context: Context) -> LinkReading:
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(OSError):
            shutil.copy(context.settings.state_dir / REMEMBERED, Path(folder) / REMEMBERED)
        agent = msgspec.structs.replace(context.settings.agent, state_dir=folder)
        settings = msgspec.structs.replace(context.settings, agent=agent)
        # The collector's root stays where it is: without it, the measurement server's cookie is the proof.
        return asyncio.run(_link_reading(replace(context, settings=settings, collector_tls_port=0)))


async def _link_reading(context: Context) -> LinkReading:
    (reading,) = await PROBES["link"](context)
    assert isinstance(reading, LinkReading)
    return reading


def _names(reading: LinkReading) -> Iterator[Diagnosis]:
    """How long a name takes. Which server fails is the resolver check's to say."""
    if reading.names_ms is not None:
        yield Diagnosis(what="names", detail=f"resolved by {reading.names_by} in {reading.names_ms:g} ms")


def _cause(cause: LineCause, reading: LinkReading) -> Diagnosis:
    detail, fix = FINDINGS[cause]
    if cause == "mtu":
        detail = f"{detail}: over {reading.path_mtu_bytes} bytes"
    return Diagnosis(what="path MTU" if cause == "mtu" else "line", detail=detail, fix=fix)
