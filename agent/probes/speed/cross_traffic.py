"""Whose counters show what others moved during a test: this gateway's, its router's, or none; the reading names
which."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from agent.common.causes import SpeedFlag
from agent.config import SpeedSection
from agent.probes.speed.engine import Engine, SpeedRequest, Throughput
from agent.probes.speed.line.router import RouterWatch

FORWARDING = (Path("/proc/sys/net/ipv4/ip_forward"), Path("/proc/sys/net/ipv6/conf/all/forwarding"))
BRIDGED = Path("/sys/class/net")  # a port of a bridge has a folder `brport` there

Source = Literal["interface", "router"]


@dataclass(frozen=True)
class MeasuredWithOthers:
    """An engine's result with what is known of others' traffic, and by whose counters."""

    found: Throughput
    others_from: Source | None


def measure(engine: Engine, request: SpeedRequest, speed: SpeedSection) -> MeasuredWithOthers:
    """Blocks until done. Raises ProbeFailed."""
    if not speed.router_host:
        return with_others(engine(request), "interface" if sees_all(speed.inline, request.wan_interface) else None)
    with RouterWatch(speed, request.explain) as watch:
        seen = with_others(engine(replace(request, others=watch.interface)), "router")
    return seen if seen.others_from else replace(seen, found=_flagged(seen.found, watch.why_unseen()))


def with_others(throughput: Throughput, source: Source | None) -> MeasuredWithOthers:
    """Without counters that see everybody, capacity is unknown: what this machine alone moved would pass for it."""
    if source is not None and (throughput.capacity_down_mbps is not None or throughput.capacity_up_mbps is not None):
        return MeasuredWithOthers(throughput, source)
    blind = replace(
        throughput,
        capacity_down_mbps=None,
        capacity_up_mbps=None,
        cross_traffic_down_pct=None,
        cross_traffic_up_pct=None,
    )
    return MeasuredWithOthers(_flagged(blind, {"others_unseen"}), None)


def _flagged(throughput: Throughput, flags: Set[SpeedFlag]) -> Throughput:
    return replace(throughput, flags=tuple(sorted({*throughput.flags, *flags})))


def sees_all(inline: Literal["auto", "yes", "no"], wan_interface: str) -> bool:
    """Whether the center's traffic passes this machine: as the settings say, else when it forwards or bridges."""
    if inline != "auto":
        return inline == "yes"
    bridged = bool(wan_interface) and (BRIDGED / wan_interface / "brport").exists()
    return bridged or any(_reads_one(file) for file in FORWARDING)


def _reads_one(file: Path) -> bool:
    try:
        return file.read_text("ascii").strip() == "1"
    except OSError:
        return False
