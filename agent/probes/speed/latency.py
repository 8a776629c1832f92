"""Round trips to the measurement server: before the load, and while it lasts."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agent.probes.link.ping import Echoes, ping, summary, tcp_ping
from agent.probes.target import Target

IDLE_ECHOES, IDLE_INTERVAL_S = 20, 0.05
LOADED_INTERVAL_S = 0.1
IDLE_TIMEOUT_S, LOADED_TIMEOUT_S = 1.5, 3.0
ECHO_BITS = 8 * 60  # an echo with its IP and frame headers
SHARE = 0.002  # of the line: at 10 a second, echoes alone are 1 % of 0.5 Mbit/s
SLOWEST_S = 0.7

EchoSender = Callable[[int, float, float], Awaitable[Echoes]]  # (count, interval, timeout) -> round trips


@dataclass(frozen=True, kw_only=True)
class Idle:
    """The quiet line: median and jitter in milliseconds, None when nothing answered; `send_echoes` is the method that
    worked."""

    rtt_ms: float | None
    jitter_ms: float | None
    send_echoes: EchoSender


async def idle(target: Target) -> Idle:
    """By ICMP where it is allowed and answered, else by TCP handshakes with the server."""

    async def by_icmp(count: int, interval_s: float, timeout_s: float) -> Echoes:
        return await ping(target.address, count, interval_s, timeout_s, tcp_port=target.port)

    async def by_tcp(count: int, interval_s: float, timeout_s: float) -> Echoes:
        return await tcp_ping(target.address, target.port, count, interval_s, timeout_s)

    probe = await ping(target.address, 2, IDLE_INTERVAL_S, 1.0, tcp_port=target.port)
    send_echoes = by_icmp if any(rtt is not None for rtt in probe.rtts_ms) else by_tcp
    figures = summary(await send_echoes(IDLE_ECHOES, IDLE_INTERVAL_S, IDLE_TIMEOUT_S))
    return Idle(rtt_ms=figures.median_ms, jitter_ms=figures.jitter_ms, send_echoes=send_echoes)


class Loaded:
    """Echoes while the streams run, sparse enough not to take from a slow line what is being measured."""

    def __init__(self, send_echoes: EchoSender) -> None:
        self.send_echoes = send_echoes
        self.rtts_ms: list[float] = []
        self.mbps = 0.0  # kept up to date by the test; sets the rate
        self.echoes: set[asyncio.Task[None]] = set()
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            echo = asyncio.get_running_loop().create_task(self._echo())
            self.echoes.add(echo)
            echo.add_done_callback(self.echoes.discard)
            await asyncio.sleep(interval_s(self.mbps))

    async def _echo(self) -> None:
        echoes = await self.send_echoes(1, 0.0, LOADED_TIMEOUT_S)
        self.rtts_ms += [rtt for rtt in echoes.rtts_ms if rtt is not None]

    async def close(self) -> None:
        """Waits a moment for the echoes still out."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        if self.echoes:
            await asyncio.wait(self.echoes, timeout=0.5)
        for echo in self.echoes:
            echo.cancel()
        await asyncio.gather(*self.echoes, return_exceptions=True)


def interval_s(mbps: float) -> float:
    """Between loaded echoes, for a line that carries `mbps`."""
    return min(SLOWEST_S, max(LOADED_INTERVAL_S, ECHO_BITS / (SHARE * mbps * 1e6))) if mbps > 0 else LOADED_INTERVAL_S


def median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 3) if values else None


def rise_ms(idle_ms: float | None, loaded_ms: Sequence[float]) -> float | None:
    """How far the load lifted the median; None while too little is known (fewer than three loaded answers)."""
    middle = median(loaded_ms)
    return None if idle_ms is None or middle is None or len(loaded_ms) < 3 else middle - idle_ms
