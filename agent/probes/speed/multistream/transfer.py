"""Runs one direction: opens the streams, samples them on one clock, widens them when the line is not full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from agent.probes.probe import ProbeFailed
from agent.probes.speed import latency
from agent.probes.speed.line import machine
from agent.probes.speed.line.counters import Counters, Interface
from agent.probes.speed.line.machine import MachineShares
from agent.probes.speed.multistream import tcpinfo
from agent.probes.speed.multistream.modes import WIDEN_S, Mode
from agent.probes.speed.multistream.saturation import SATURATED_MS, End, Trace, delivered, ended, lasting_from
from agent.probes.speed.multistream.stream import Direction
from agent.probes.speed.multistream.streams import Stream, Streams
from agent.probes.target import CONNECT_S, Target

BIN_S = 0.05
STALL_S = CONNECT_S + 3
COMMON_RTT_MS, ROUND_TRIPS = 80.0, 6


def longer_s(rtt_ms: float | None) -> float:
    """What a long round trip adds to the warm-up: TCP needs so many of them to find the line's rate."""
    return max(0.0, (rtt_ms or 0.0) - COMMON_RTT_MS) / 1000 * ROUND_TRIPS


class TransferPlan:
    """One direction of one test. `most_s` may be less than the mode's, when the deadline is near."""

    def __init__(
        self,
        direction: Direction,
        target: Target,
        mode: Mode,
        idle: latency.Idle,
        *,
        kind: type[Stream],
        interface: Interface | None,
        stopped: Callable[[], bool],
        read: tcpinfo.Read,
        most_s: float,
    ) -> None:
        self.mode, self.idle, self.interface, self.stopped, self.most_s = mode, idle, interface, stopped, most_s
        self.streams = Streams(direction, target, kind, read)
        self.counters: list[Counters | None] = []
        self.loaded: latency.Loaded | None = None
        self.began_s = 0.0
        self.warm_s = 0.0
        self.widened_s = 0.0
        self.late = 0
        self.port = machine.port(interface.name) if interface else None
        self.ip_bytes = 40 if ":" in target.address else 20

    async def run(self) -> Trace:
        """Raises ProbeFailed when nothing can be measured."""
        self.streams.add(self.mode.streams)
        try:
            await self._first_byte()
            before = machine.state()
            end = await self._measure()
            shares = machine.shares(before, machine.state())
        finally:
            await self.streams.close()
            if self.loaded is not None:
                await self.loaded.close()
        return self._trace(end, shares)

    async def _first_byte(self) -> None:
        started = time.monotonic()
        while not self.streams.moved:
            if time.monotonic() - started > STALL_S:
                raise self.streams.failure or ProbeFailed("timeout", f"not a byte came within {STALL_S:g} s")
            self._check()
            await asyncio.sleep(0.005)
        self.began_s = self._tick()  # a very fast line reaches its byte cap by the next tick
        self.widened_s = longer_s(self.idle.rtt_ms)
        self.warm_s = self.began_s + self.mode.warmup_s + self.widened_s

    def _check(self) -> None:
        if self.stopped():
            raise ProbeFailed("stopped", "the speed test was stopped before it had a result")
        if all(keeper.done() for keeper in self.streams.keepers) and not self.streams.over:
            raise self.streams.failure or ProbeFailed("interrupted", "every stream to the speed server ended")

    async def _measure(self) -> End:
        due = self.began_s
        while True:
            due = max(due + BIN_S, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            self._check()
            now = self._tick()
            self.late += now - due > BIN_S / 2
            if self.streams.over:
                return "closed"
            if self.loaded is None and now >= self.warm_s - self.mode.warmup_s / 2:
                self.loaded = latency.Loaded(self.idle.send_echoes)
            end = self._judge(now)
            if end is not None:
                return end

    def _tick(self) -> float:
        now = time.monotonic()
        self.streams.tick(now)
        self.counters.append(self.interface.read() if self.interface else None)
        return now

    def _judge(self, now: float) -> End | None:
        trace = self._trace("time", MachineShares())
        totals = delivered(trace) or [0.0] * len(self.streams.times_s)
        if self.loaded is not None:
            self.loaded.mbps = totals[-1] * 8 / 1e6 / (now - self.began_s)
        if self.streams.moved >= self.mode.most_bytes:
            return "bytes"
        if now < self.warm_s:
            return None
        if self._widen(now):
            return None
        first = next(i for i, at in enumerate(self.streams.times_s) if at >= self.warm_s)
        seconds = now - self.began_s - self.widened_s
        fell = lasting_from(trace, self.idle.rtt_ms) if seconds >= self.mode.least_s else None
        if fell is not None:  # a short test becomes longer: what lasts is to be measured as long as any rate
            first = max(first, fell)
            seconds = min(seconds, self.mode.warmup_s + now - self.streams.times_s[first])
        if now - self.began_s - self.widened_s >= self.most_s:
            return "time"
        return ended(self.mode, seconds, self.most_s, self.streams.times_s[first:], totals[first:])

    def _widen(self, now: float) -> bool:
        """Twice the streams and a longer warm-up, when the warm-up ends on a line that the load has not filled."""
        just_warm = len(self.streams.times_s) < 2 or self.streams.times_s[-2] < self.warm_s
        more = min(self.streams.count, self.mode.most_streams - self.streams.count)
        if not just_warm or more <= 0 or self.loaded is None:
            return False
        rise = latency.rise_ms(self.idle.rtt_ms, self.loaded.rtts_ms)
        if rise is None or rise >= SATURATED_MS:
            return False
        self.streams.add(more)
        self.loaded.rtts_ms.clear()
        self.warm_s = now + WIDEN_S
        self.widened_s += WIDEN_S
        return True

    def _trace(self, end: End, shares: MachineShares) -> Trace:
        ticks = max(1, len(self.streams.times_s))
        return Trace(
            direction=self.streams.direction,
            times_s=self.streams.times_s,
            lanes=self.streams.lanes,
            counters=self.counters,
            loaded_ms=self.loaded.rtts_ms if self.loaded else [],
            began_s=self.began_s,
            warm_s=self.warm_s,
            end=end,
            machine=shares,
            port=self.port,
            late_share=self.late / ticks,
            ip_bytes=self.ip_bytes,
            frame_bytes=self.interface.frame_bytes if self.interface else 14,
            stepped=self.interface is not None and self.interface.stepped,
        )
