"""What a speed engine is: one blocking function, run in a thread, that obeys its deadline and its stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.common.causes import SpeedFlag
from agent.probes.speed.line.counters import Interface

PUBLIC = "public"  # as a server: whichever the engine's public service names


def _silent(_line: str) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class SpeedRequest:
    """One test to run. `server` is http(s)://HOST[:PORT][/FOLDER], or ``public`` for an engine that has a public
    service. `test_id` and `token` go with every request, so that the server can report what it saw of this very test.
    `others` counts everybody's traffic where this machine's own interface does not.
    `ca_file` holds certificates trusted besides the system's; `locate_url` names a public ndt7 server.
    """

    server: str
    mode: str = "adaptive"
    deadline_s: float = 60.0
    test_id: str = ""
    token: str = ""
    wan_interface: str = ""
    plan_mbps: float | None = None
    ca_file: str = ""
    locate_url: str = ""
    others: Interface | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    explain: Callable[[str], None] = field(default=_silent)


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What one engine found; fields and units are those of `wire.SpeedReading`. None is unknown, never zero."""

    engine: str
    engine_version: str
    server: str
    mode: str
    tls: bool | None = None
    download_mbps: float | None = None
    upload_mbps: float | None = None
    capacity_down_mbps: float | None = None
    capacity_up_mbps: float | None = None
    cross_traffic_down_pct: float | None = None
    cross_traffic_up_pct: float | None = None
    idle_rtt_ms: float | None = None
    loaded_rtt_down_ms: float | None = None
    loaded_rtt_up_ms: float | None = None
    jitter_ms: float | None = None
    loss_pct: float | None = None
    bytes_total: int | None = None
    seconds: float | None = None
    flags: tuple[SpeedFlag, ...] = ()


Engine = Callable[[SpeedRequest], Throughput]
