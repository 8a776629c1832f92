"""The speed probe: one engine, chosen by name, measures the line against one server."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal, cast

from agent.probes.link import interfaces
from agent.probes.probe import Context, ProbeFailed
from agent.probes.speed.engine import Engine, SpeedRequest, Throughput
from agent.probes.speed.line.wan import WanLine, line_now
from agent.probes.speed.server_view import ServerView, seen_by
from agent.probes.target import is_self_test
from agent.wire import Reading, SpeedReading

__all__ = ["ENGINES", "line", "probe"]


def _loaded_at_first_use(name: str) -> Engine:
    def measure(request: SpeedRequest) -> Throughput:
        from agent.probes.speed.engines import iperf3, librespeed, ndt7, ookla

        engines: dict[str, Engine] = {one.NAME: one.measure for one in (iperf3, librespeed, ndt7, ookla)}
        return engines[name](request)

    return measure


ENGINES: dict[str, Engine] = {name: _loaded_at_first_use(name) for name in ("librespeed", "ndt7", "ookla", "iperf3")}
HAVE_PUBLIC_SERVERS = ("ndt7", "ookla")

Purpose = Literal["routine", "self-test", "retest", "desk", "manual"]


async def probe(context: Context) -> Sequence[Reading]:
    """One speed test, in a thread of its own, and on which line it was. Raises ProbeFailed."""
    from agent.probes.speed import cross_traffic  # costs memory only where a test is made

    began_s = time.monotonic()
    settings = context.settings.speed
    engine, server = _engine(context), _server(context)
    at_home = is_self_test(server)
    line = WanLine(None, None) if at_home else line_now(context.settings.link)
    seen = ServerView() if at_home else await seen_by(server, settings.ca_file)
    request = SpeedRequest(
        server=server,
        mode=settings.mode,
        deadline_s=context.deadline_s - (time.monotonic() - began_s),
        test_id=context.test_id or secrets.token_hex(16),
        token=context.test_token,
        wan_interface=_counted(settings.wan_interface, line),
        plan_mbps=settings.plan_mbps,
        ca_file=settings.ca_file,
        locate_url=settings.locate_url,
        explain=context.explain,
    )
    try:
        result = await asyncio.to_thread(cross_traffic.measure, engine, request, settings)
    finally:
        request.stop.set()  # a thread cannot be cancelled: it looks at this
    values = asdict(result.found) | {"flags": list(result.found.flags)}
    return [
        SpeedReading(
            purpose=cast(Purpose, context.purpose),
            test_id=request.test_id,
            others_from=result.others_from,
            public_address=seen.address,
            network=seen.network,
            wan_interface=line.interface,
            failover=line.failover,
            **values,
        )
    ]


def _engine(context: Context) -> Engine:
    name = context.settings.speed.engine
    engine = ENGINES.get(name)
    if engine is None:
        raise ProbeFailed("bad_engine", f"speed engine {name!r} must be one of {', '.join(ENGINES)}")
    return engine


def _server(context: Context) -> str:
    """The server's address; empty for an engine that finds one by itself. Raises ProbeFailed."""
    settings = context.settings.speed
    server = settings.server or context.measure_url or ""
    if not server and settings.engine not in HAVE_PUBLIC_SERVERS:
        raise ProbeFailed("no_server", "no speed server is known: enrol this gateway, or set `server` under [speed]")
    return server


def _counted(named: str, line: WanLine) -> str:
    """The named WAN interface as it is called now; nothing on a backup line, which is another."""
    return "" if line.failover or not named else interfaces.counted(named, None) or ""
