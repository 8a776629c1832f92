"""The engine of record: our multi-stream client of the LibreSpeed protocol.

1. The line at rest: median round trip and jitter.
2. Down, then up: several streams, warm-up discarded, the rate as the slope of what the kernel saw delivered.
3. What the interface's counters saw besides our own bytes is added back as capacity.
4. Flags say what a figure is worth: a line that was not full gives a lower bound.
"""

from __future__ import annotations

import asyncio
import time

from agent import __version__
from agent.probes.probe import ProbeFailed
from agent.probes.speed import counters, latency, tcpinfo, witness
from agent.probes.speed.direction import Run
from agent.probes.speed.engine import SpeedRequest, Throughput
from agent.probes.speed.lane import Direction
from agent.probes.speed.modes import MODES
from agent.probes.speed.target import Target, find, parse
from agent.probes.speed.trace import Trace, Way, judge

NAME = "librespeed"
LEAST_S = 1.0  # a direction that would get less is not worth its bytes
IMPLAUSIBLE = 1.5
DRAIN_S = 0.3


def measure(request: SpeedRequest, read: tcpinfo.Read = tcpinfo.read) -> Throughput:
    """Blocks until done, at most `request.deadline_s`. Raises ProbeFailed."""
    if request.mode not in MODES:
        raise ProbeFailed("bad_mode", f"speed mode {request.mode!r} must be one of {', '.join(MODES)}")
    return asyncio.run(_by_deadline(request, read))


async def _by_deadline(request: SpeedRequest, read: tcpinfo.Read) -> Throughput:
    try:
        async with asyncio.timeout(request.deadline_s):
            return await _Test(request, read).run()
    except TimeoutError:
        sentence = f"the speed test had no result within its deadline of {request.deadline_s:g} s"
        raise ProbeFailed("timeout", sentence) from None


class _Test:
    def __init__(self, request: SpeedRequest, read: tcpinfo.Read) -> None:
        self.request, self.read, self.mode = request, read, MODES[request.mode]
        self.started_s = time.monotonic()

    async def run(self) -> Throughput:
        request = self.request
        target = await find(parse(request.server, {"test": request.test_id, "token": request.token}))
        interface = counters.find(request.wan_interface, target.local_address)
        before = interface.read() if interface else None
        idle = await latency.idle(target)
        request.explain(f"at rest: {idle.rtt_ms} ms round trip, {idle.jitter_ms} ms jitter")
        down = await self._direction("down", target, idle, interface)
        await asyncio.sleep(min(1.5, DRAIN_S + (down.loaded_rtt_ms or 0) / 1000))  # what is queued would delay the rest
        up = await self._direction("up", target, idle, interface)
        after = interface.read() if interface else None
        return self._result(target, idle, down, up, _spent(down, up, before, after))

    async def _direction(
        self, direction: Direction, target: Target, idle: latency.Idle, interface: counters.Interface | None
    ) -> Way:
        run = Run(
            direction,
            target,
            self.mode,
            idle,
            interface=interface,
            stopped=self.request.stop.is_set,
            read=self.read,
            most_s=self._most_s(direction),
        )
        trace = await run.run()
        way = judge(trace, idle.rtt_ms, self.mode)
        if way.mbps is None and direction == "up":
            way = await witness.upload(target, self.request.test_id, self.mode.warmup_s, way)
        self.request.explain(_told(direction, trace, way, run.streams.count))
        return way

    def _most_s(self, direction: Direction) -> float:
        """The mode's longest, or what the deadline leaves for this direction."""
        left = self.started_s + self.request.deadline_s - time.monotonic()
        share = (left - 4) / 2 if direction == "down" else left - 1.5
        if share < LEAST_S:
            raise ProbeFailed("timeout", f"the deadline of {self.request.deadline_s:g} s leaves no time to measure")
        return min(self.mode.most_s, share)

    def _result(self, target: Target, idle: latency.Idle, down: Way, up: Way, spent: int) -> Throughput:
        flags = down.flags | up.flags
        plan = self.request.plan_mbps
        if plan is not None and max(down.mbps or 0.0, up.mbps or 0.0) > IMPLAUSIBLE * plan:
            flags |= {"implausible"}
        return Throughput(
            engine=NAME,
            engine_version=__version__,
            server=f"{'https' if target.tls else 'http'}://{target.place}{target.folder}"[:200],
            mode=self.request.mode,
            download_mbps=_round(down.mbps),
            upload_mbps=_round(up.mbps),
            capacity_down_mbps=_round(down.capacity_mbps),
            capacity_up_mbps=_round(up.capacity_mbps),
            cross_traffic_down_pct=down.cross_pct,
            cross_traffic_up_pct=up.cross_pct,
            idle_rtt_ms=idle.rtt_ms,
            loaded_rtt_down_ms=down.loaded_rtt_ms,
            loaded_rtt_up_ms=up.loaded_rtt_ms,
            jitter_ms=idle.jitter_ms,
            loss_pct=None,  # twenty echoes tell loss in steps of 5 %: a day of the link probe's echoes does it
            bytes_total=spent,
            seconds=round(time.monotonic() - self.started_s, 2),
            flags=tuple(sorted(flags)),
        )


def _spent(down: Way, up: Way, before: counters.Counters | None, after: counters.Counters | None) -> int:
    """Bytes this test cost the line. What came in is the interface's count, which has what was still on its way when
    we hung up, unless others used the line meanwhile."""
    received = down.received_bytes + up.received_bytes
    if before is not None and after is not None and not down.cross_pct:
        received = max(received, after.rx - before.rx)
    return received + down.sent_bytes + up.sent_bytes


def _round(mbps: float | None) -> float | None:
    return None if mbps is None else round(mbps, 4)


def _told(direction: str, trace: Trace, way: Way, streams: int) -> str:
    mbps = "unknown" if way.mbps is None else f"{way.mbps:.2f} Mbit/s"
    cross = "" if not way.cross_pct else f", others had {way.cross_pct:g} % of the line"
    flags = f"; {', '.join(sorted(way.flags))}" if way.flags else ""
    seconds = trace.times_s[-1] - trace.began_s
    return (
        f"{direction}: {mbps} over {streams} streams, ended by {trace.end} after {seconds:.1f} s, "
        f"{way.loaded_rtt_ms} ms under load{cross}{flags}"
    )
