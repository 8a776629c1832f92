"""What the line carries before a test: two samples of the counters that see all traffic."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from agent.config import AgentSettings, SpeedSection
from agent.probes.link import interfaces
from agent.probes.link.route import default_route
from agent.probes.speed.line import counters
from agent.probes.speed.line.router import RouterWatch


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the line carries just now, Mbit/s on the wire."""

    down_mbps: float
    up_mbps: float


async def line_load(settings: AgentSettings, seconds: float) -> Load | None:
    """Over so many seconds. None when no counter can be read, or they were reset meanwhile; also when a router did not
    show its counters anew."""
    if settings.speed.router_host:
        return await asyncio.to_thread(_router_load, settings.speed, seconds)
    before, began_s = wan_counters(settings), time.monotonic()
    await asyncio.sleep(seconds)
    after, took_s = wan_counters(settings), time.monotonic() - began_s
    return None if before is None or after is None else load_of(before, after, took_s)


def _router_load(speed: SpeedSection, seconds: float) -> Load | None:
    with RouterWatch(speed) as watch:
        read = watch.interface.read
        before, began_s = read(), time.monotonic()
        time.sleep(seconds)
        after, took_s = read(), time.monotonic() - began_s
    return None if before is None or after is None or after == before else load_of(before, after, took_s)


def load_of(before: counters.Counters, after: counters.Counters, seconds: float) -> Load | None:
    down, up = after.rx - before.rx, after.tx - before.tx
    if down < 0 or up < 0 or seconds <= 0:
        return None
    return Load(down_mbps=down * 8 / 1e6 / seconds, up_mbps=up * 8 / 1e6 / seconds)


def wan_counters(settings: AgentSettings) -> counters.Counters | None:
    """Of the WAN interface of the settings, or the one with the default route."""
    name = interfaces.counted(settings.speed.wan_interface, default_route())
    return counters.read(name) if name else None


def moved_bytes(settings: AgentSettings) -> int | None:
    """What the line has moved so far, both directions."""
    counted = wan_counters(settings)
    return None if counted is None else counted.rx + counted.tx
