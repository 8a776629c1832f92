"""The steps of a test with streams of our own, whatever these speak: the line at rest, down, up, the result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agent import __version__
from agent.probes.link.mtu import path_mtu
from agent.probes.probe import ProbeFailed
from agent.probes.speed import latency
from agent.probes.speed.engine import SpeedRequest, Throughput
from agent.probes.speed.line import counters
from agent.probes.speed.multistream import tcpinfo
from agent.probes.speed.multistream.modes import Mode
from agent.probes.speed.multistream.saturation import DirectionResult, Trace, described_machine, has_stalled, judge
from agent.probes.speed.multistream.stream import Direction
from agent.probes.speed.multistream.streams import HEAD_BYTES, Busy, Stream
from agent.probes.speed.multistream.transfer import TransferPlan
from agent.probes.target import Target

LEAST_S = 1.0  # a direction that would get less is not worth its bytes
IMPLAUSIBLE = 1.5
DRAIN_S = 0.3

Targets = Mapping[Direction, Target]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What an engine speaks. `corrected` may put the protocol's own count in the place of ours, once a direction is
    over; `sums_up` may put its own round trips and loss into the result. Both may raise ProbeFailed."""

    name: str
    kinds: Mapping[Direction, type[Stream]]
    find: Callable[[SpeedRequest], Awaitable[Targets]]
    corrected: Callable[[SpeedRequest, TransferPlan, DirectionResult], Awaitable[DirectionResult]]
    sums_up: Callable[[Mapping[Direction, TransferPlan], Throughput], Throughput] = lambda _runs, throughput: throughput


def measure(
    protocol: Protocol, mode_name: str, mode: Mode, request: SpeedRequest, read: tcpinfo.Read = tcpinfo.read
) -> Throughput:
    """Blocks until done, at most `request.deadline_s`. Raises ProbeFailed."""
    return asyncio.run(_by_deadline(_Test(protocol, mode_name, mode, request, read)))


async def _by_deadline(test: _Test) -> Throughput:
    deadline_s = test.request.deadline_s
    try:
        async with asyncio.timeout(deadline_s):
            return await test.run()
    except TimeoutError:
        sentence = f"the speed test had no result within its deadline of {deadline_s:g} s"
        raise ProbeFailed("timeout", sentence) from None


class _Test:
    def __init__(
        self, protocol: Protocol, mode_name: str, mode: Mode, request: SpeedRequest, read: tcpinfo.Read
    ) -> None:
        self.protocol, self.mode_name, self.mode = protocol, mode_name, mode
        self.request, self.read = request, read
        self.started_s = time.monotonic()
        self.runs: dict[Direction, TransferPlan] = {}

    async def run(self) -> Throughput:
        request = self.request
        targets = await self.protocol.find(request)
        interface = counters.find(request.wan_interface, targets["down"].local_address)
        before = interface.read() if interface else None
        idle = await latency.idle(targets["down"])
        request.explain(f"at rest: {idle.rtt_ms} ms round trip, {idle.jitter_ms} ms jitter")
        down = await self._direction("down", targets["down"], idle, interface)
        await asyncio.sleep(min(1.5, DRAIN_S + (down.loaded_rtt_ms or 0) / 1000))  # what is queued would delay the rest
        up = await self._direction("up", targets["up"], idle, interface)
        after = interface.read() if interface else None
        throughput = self._result(targets["down"], idle, down, up, _spent(down, up, before, after))
        return self.protocol.sums_up(self.runs, throughput)

    async def _direction(
        self, direction: Direction, target: Target, idle: latency.Idle, interface: counters.Interface | None
    ) -> DirectionResult:
        run, trace = await self._admitted(direction, target, idle, interface)
        if has_stalled(trace, idle.rtt_ms):
            raise await _stalled(direction, target)
        result = await self.protocol.corrected(self.request, run, judge(trace, idle.rtt_ms, self.mode))
        self.request.explain(_described(direction, trace, result, run.streams.count))
        self.request.explain(described_machine(trace, idle.rtt_ms))
        return result

    async def _admitted(
        self, direction: Direction, target: Target, idle: latency.Idle, interface: counters.Interface | None
    ) -> tuple[TransferPlan, Trace]:
        """The direction, once the server has a place: it keeps ours as long as we retry when it asks us to."""
        while True:
            run = self.runs[direction] = self._run(direction, target, idle, interface)
            try:
                return run, await run.run()
            except Busy as busy:
                left_s = self.started_s + self.request.deadline_s - time.monotonic()
                has_begun = run.streams.moved > run.streams.count * HEAD_BYTES  # more came than refusals
                if busy.retry_s is None or has_begun or left_s - busy.retry_s < self._least_s():
                    raise
                self.request.explain(f"{busy.detail}; retried in {busy.retry_s} s")
                await self._rest(busy.retry_s)

    async def _rest(self, seconds: float) -> None:
        """Raises ProbeFailed(``stopped``)."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            if self.request.stop.is_set():
                raise ProbeFailed("stopped", "the speed test was stopped while it waited for a place at the server")
            await asyncio.sleep(min(0.5, left_s))

    def _least_s(self) -> float:
        """What a whole test needs at the least."""
        return 2 * self.mode.most_s + 5.5

    def _run(
        self, direction: Direction, target: Target, idle: latency.Idle, interface: counters.Interface | None
    ) -> TransferPlan:
        return TransferPlan(
            direction,
            target,
            self.mode,
            idle,
            kind=self.protocol.kinds[direction],
            interface=self.request.others or interface,
            stopped=self.request.stop.is_set,
            read=self.read,
            most_s=self._most_s(direction),
        )

    def _most_s(self, direction: Direction) -> float:
        """The mode's longest, or what the deadline leaves for this direction."""
        left = self.started_s + self.request.deadline_s - time.monotonic()
        share = (left - 4) / 2 if direction == "down" else left - 1.5
        if share < LEAST_S:
            raise ProbeFailed("timeout", f"the deadline of {self.request.deadline_s:g} s leaves no time to measure")
        return min(self.mode.most_s, share)

    def _result(
        self, target: Target, idle: latency.Idle, down: DirectionResult, up: DirectionResult, spent: int
    ) -> Throughput:
        flags = down.flags | up.flags
        plan = self.request.plan_mbps
        if plan is not None and max(down.mbps or 0.0, up.mbps or 0.0) > IMPLAUSIBLE * plan:
            flags |= {"implausible"}
        return Throughput(
            engine=self.protocol.name,
            engine_version=__version__,
            server=target.shown,
            mode=self.mode_name,
            tls=target.tls is not None,
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
            loss_pct=None,  # twenty echoes show loss in steps of 5 %: a day of the link probe's echoes does it
            bytes_total=spent,
            seconds=round(time.monotonic() - self.started_s, 2),
            flags=tuple(sorted(flags)),
        )


def _spent(
    down: DirectionResult, up: DirectionResult, before: counters.Counters | None, after: counters.Counters | None
) -> int:
    """Bytes this test cost the line. What came in is the interface's count, which has what was still in flight when
    we hung up, unless others used the line meanwhile."""
    received = down.received_bytes + up.received_bytes
    if before is not None and after is not None and not down.cross_pct:
        received = max(received, after.rx - before.rx)
    return received + down.sent_bytes + up.sent_bytes


async def _stalled(direction: Direction, target: Target) -> ProbeFailed:
    """Why a direction stood still, as far as that can be found out: the usual reason is that large packets vanish."""
    way = {"down": "download", "up": "upload"}[direction]
    mtu = await path_mtu(target.address, target.port)
    if mtu.is_black_hole:
        why = f"packets over {mtu.largest_bytes} bytes vanish on the path to {target.place} (path MTU)"
        return ProbeFailed("mtu", f"the {way} stalled: {why}; let ICMP through, or clamp TCP's MSS on the router")
    return ProbeFailed("stalled", f"the {way} stalled: the line to {target.place} carried nothing any more")


def _round(mbps: float | None) -> float | None:
    return None if mbps is None else round(mbps, 4)


def _described(direction: str, trace: Trace, result: DirectionResult, streams: int) -> str:
    mbps = "unknown" if result.mbps is None else f"{result.mbps:.2f} Mbit/s"
    cross = "" if not result.cross_pct else f", others had {result.cross_pct:g} % of the line"
    flags = f"; {', '.join(sorted(result.flags))}" if result.flags else ""
    seconds = trace.times_s[-1] - trace.began_s
    return (
        f"{direction}: {mbps} over {streams} streams, ended by {trace.end} after {seconds:.1f} s, "
        f"{result.loaded_rtt_ms} ms under load{cross}{flags}"
    )
