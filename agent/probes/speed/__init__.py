"""The speed probe: one engine, chosen by name, measures the line against one server."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal, cast

from agent.probes.link import interfaces
from agent.probes.probe import Context, ProbeFailed
from agent.probes.speed.engine import Engine, SpeedRequest, Throughput
from agent.probes.speed.line.wan import WanLine, line_now
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
    """One speed test, in a process of its own, and on which line it was. Raises ProbeFailed."""
    from agent.probes.speed import process  # costs memory only where a test is made

    settings = context.settings.speed
    _check_engine(settings.engine)
    server = _server(context)
    line = WanLine(None, None) if is_self_test(server) else line_now(context.settings.link)
    order = process.SpeedOrder(
        server=server,
        deadline_s=context.deadline_s - process.START_S,
        test_id=context.test_id or secrets.token_hex(16),
        token=context.test_token,
        wan_interface=_counted(settings.wan_interface, line),
        section=settings,
    )
    report = await process.in_child(order, context.explain)
    assert report.found is not None
    values = asdict(report.found) | {"flags": list(report.found.flags)}
    return [
        SpeedReading(
            purpose=cast(Purpose, context.purpose),
            test_id=order.test_id,
            others_from=report.others_from,
            public_address=report.address,
            network=report.network,
            wan_interface=line.interface,
            failover=line.failover,
            **values,
        )
    ]


def _check_engine(name: str) -> None:
    if name not in ENGINES:
        raise ProbeFailed("bad_engine", f"speed engine {name!r} must be one of {', '.join(ENGINES)}")


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
