"""One direction's samples, and what they show. Judging is pure: it reads a trace and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from agent.common.causes import SpeedFlag
from agent.probes.speed.latency import median, rise_ms
from agent.probes.speed.line.counters import Counters
from agent.probes.speed.line.machine import MachineShares, Port
from agent.probes.speed.multistream import rate
from agent.probes.speed.multistream.modes import SETTLE_SPAN_S, Mode
from agent.probes.speed.multistream.stream import Direction, Lane
from agent.probes.speed.multistream.tcpinfo import TcpInfo

End = Literal["time", "settled", "bytes", "closed"]

SATURATED_MS = 3.0  # a line that is full queues: a load that lifts the round trip by less has not filled it
CROSS_PCT = 5.0
CROSS_SHARE = CROSS_PCT / 100
NOISE = 0.01
STEPS_S, STEPS_NOISE = 1.5, 0.03  # leaps are seen up to a tenth of a second late
MANY, HALF_EMPTY = 500, 0.6  # of so many segments no line keeps so many waiting
STALLED_S, STALLED_RTTS, STALLED_BYTES = 1.8, 2, 3000  # nothing but a packet or two for so long
BUSY_SHARE, WAIT_SHARE, SOFTIRQ_SHARE = 0.8, 0.2, 0.3  # of the time of a direction; see `bench lines.limited`
LATE_SHARE, UNFED_SHARE = 0.1, 0.1
EMPTY_SHARE, SUNK_SHARE, SUNK_TICKS, SUNK_BINS = 0.1, 0.03, 3, 6


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Entry i of `times_s` (monotonic) and `counters` is tick i. `ip_bytes` is an IP header's length, `frame_bytes`
    what the interface's counters add to each packet. `late_share` of the ticks came more than half a bin late.
    `machine` and `port` are of the machine that tested; None: its link is not known."""

    direction: Direction
    times_s: Sequence[float]
    lanes: Sequence[Lane]
    counters: Sequence[Counters | None]
    loaded_ms: Sequence[float]
    began_s: float
    warm_s: float  # when the warm-up was over
    end: End
    machine: MachineShares
    late_share: float
    port: Port | None = None
    ip_bytes: int = 20
    frame_bytes: int = 14
    stepped: bool = False  # the counters are shown anew only now and then


@dataclass(frozen=True, kw_only=True)
class DirectionResult:
    """One direction's figures; rates in Mbit/s of payload. None is unknown."""

    mbps: float | None
    capacity_mbps: float | None
    cross_pct: float | None
    loaded_rtt_ms: float | None
    received_bytes: int
    sent_bytes: int
    flags: frozenset[SpeedFlag]


def ended(mode: Mode, seconds: float, most_s: float, times: Sequence[float], totals: Sequence[float]) -> End | None:
    """Whether a direction is measured, `seconds` after its first byte, and why. `times` and `totals` begin where the
    warm-up ended."""
    if seconds >= most_s:
        return "time"
    if seconds < mode.least_s or not totals or totals[-1] - totals[0] < mode.least_bytes:
        return None
    if not mode.settle:
        return "time"
    return "settled" if rate.settled(times, totals, SETTLE_SPAN_S) else None


def judge(trace: Trace, idle_rtt_ms: float | None, mode: Mode) -> DirectionResult:
    """What a trace shows, of a test in this mode."""
    fell = lasting_from(trace, idle_rtt_ms)
    window = _window(trace) if fell is None else range(fell, len(trace.times_s))
    times = [trace.times_s[i] for i in window]
    mbps = _slope(times, delivered(trace), window)
    capped = trace.end in ("bytes", "closed")
    mbps = None if capped and not mbps else mbps  # cut off before anything was seen to move: unknown, not nothing
    others = _others(trace, mbps, times, window)
    capacity = None if mbps is None or others is None else mbps + others
    cross = round(100 * others / capacity, 2) if capacity and others is not None else None
    received, sent = _on_line(trace)
    flags: set[SpeedFlag] = set()
    if capped:
        flags.add("capped")
    if fell is not None:
        flags.add("rate_fell")
    if not times or times[-1] - (trace.warm_s if fell is None else times[0]) < 0.8 * (mode.least_s - mode.warmup_s):
        flags.add("short")
    rise = rise_ms(idle_rtt_ms, trace.loaded_ms)
    if rise is not None and rise < SATURATED_MS:
        flags.add("not_saturated")
    if cross is not None and cross >= CROSS_PCT:
        flags.add("cross_traffic")
    if _is_client_limited(trace, mbps, window, idle_rtt_ms):
        flags.add("client_limited")
    return DirectionResult(
        mbps=mbps,
        capacity_mbps=capacity,
        cross_pct=cross,
        loaded_rtt_ms=median(trace.loaded_ms),
        received_bytes=received,
        sent_bytes=sent,
        flags=frozenset(flags),
    )


def _is_client_limited(trace: Trace, mbps: float | None, window: range, idle_rtt_ms: float | None) -> bool:
    """Whether this machine may have been the bottleneck: its own link was full, or it was short of a processor while
    the line was not: one whose queue never ran empty and whose rate never sank was the bottleneck all the time."""
    if trace.port is not None and mbps is not None and trace.port.share(mbps) >= 1:
        return True
    shares = trace.machine
    is_short = (
        shares.busy > BUSY_SHARE
        or shares.waited > WAIT_SHARE
        or shares.softirq > SOFTIRQ_SHARE
        or trace.late_share > LATE_SHARE
        or unfed_share(trace) > UNFED_SHARE
    )
    return is_short and (empty_share(trace, idle_rtt_ms) > EMPTY_SHARE or sunk_share(trace, window) > SUNK_SHARE)


def described_machine(trace: Trace, idle_rtt_ms: float | None) -> str:
    """What `client_limited` rests on, for people."""
    shares, sunk = trace.machine, sunk_share(trace, _window(trace))
    return (
        f"this machine used or waited for a processor {shares.busy:.0%} of the time, waited {shares.waited:.0%}; "
        f"soft interrupts of a full core {shares.softirq:.0%}, nothing to send {unfed_share(trace):.0%}, late "
        f"{trace.late_share:.0%}; echoes without a queue {empty_share(trace, idle_rtt_ms):.0%}, rate sank by {sunk:.1%}"
    )


def empty_share(trace: Trace, idle_rtt_ms: float | None) -> float:
    """The share of the echoes under load that met no queue; 1 where that is not known."""
    if idle_rtt_ms is None or len(trace.loaded_ms) < SUNK_BINS:
        return 1.0
    return sum(ms - idle_rtt_ms < SATURATED_MS for ms in trace.loaded_ms) / len(trace.loaded_ms)


def sunk_share(trace: Trace, window: range) -> float:
    """By how much the mean rate lies below the rate of the better times of a direction, as a share of it."""
    curve = delivered(trace)
    ends = list(window)[::SUNK_TICKS] if curve is not None else []
    rates = sorted(_mbps(trace, curve or [], a, b) for a, b in pairwise(ends))
    better = rates[round(0.8 * (len(rates) - 1))] if len(rates) >= SUNK_BINS else 0.0
    return 1 - _mbps(trace, curve or [], ends[0], ends[-1]) / better if better > 0 else 0.0


def unfed_share(trace: Trace) -> float:
    """Of an upload, the share of the time in which the kernel had nothing of ours to send, or too small a buffer for
    it; 0 where that is not told."""
    if trace.direction == "down":
        return 0.0
    fed = [(lane.first, [info.busy_us - info.unsent_us for info in lane.info]) for lane in trace.lanes if lane.info]
    spans = [(own[0], own[-1], trace.times_s[first + len(own) - 1] - trace.times_s[first]) for first, own in fed]
    total_s = sum(seconds for _, _, seconds in spans)
    if total_s <= 0 or not any(last for _, last, _ in spans):
        return 0.0
    return max(0.0, 1 - sum(last - first for first, last, _ in spans) / 1e6 / total_s)


def lasting_from(trace: Trace, idle_rtt_ms: float | None) -> int | None:
    """The tick from which on the rate lasts, where it fell for good after this one's start; None where it did not, or
    others came upon the line: their part is told apart, and added back."""
    curve = delivered(trace)
    if curve is None or len(curve) < 4 * rate.MIN_BINS:
        return None
    begin = next((i for i, value in enumerate(curve) if value > 0), 0)
    fall = rate.fall(trace.times_s[begin:], curve[begin:], (idle_rtt_ms or 0.0) / 1000)
    if fall is None:
        return None
    tick = begin + fall
    before, after = (_moved_by_others(trace, ticks) for ticks in (range(begin, tick + 1), range(tick, len(curve))))
    came = before is not None and after is not None and after - before > CROSS_SHARE * _mbps(trace, curve, begin, tick)
    return None if came else tick


def _moved_by_others(trace: Trace, ticks: range) -> float | None:
    times = [trace.times_s[i] for i in ticks]
    return _others(trace, _slope(times, delivered(trace), ticks), times, ticks)


def _mbps(trace: Trace, curve: Sequence[float], first: int, last: int) -> float:
    seconds = trace.times_s[last] - trace.times_s[first]
    return (curve[last] - curve[first]) * 8 / 1e6 / seconds if seconds > 0 else 0.0


def has_stalled(trace: Trace, idle_rtt_ms: float | None) -> bool:
    """Whether a direction stood still at its end: a line that carries nothing is not one that was not full."""
    curve, end_s = delivered(trace), trace.times_s[-1] if trace.times_s else 0.0
    still_s = STALLED_S + STALLED_RTTS * (idle_rtt_ms or 0.0) / 1000
    if curve is None or end_s - trace.began_s < still_s or trace.end != "time":
        return False
    before = next((total for time, total in zip(trace.times_s, curve, strict=True) if time >= end_s - still_s), 0)
    return curve[-1] - before < STALLED_BYTES


def delivered(trace: Trace) -> list[float] | None:
    """Payload that had crossed the line at each tick. Where the kernel does not report it, what this process read;
    None for an upload there, since what was handed to a socket proves nothing."""
    count = len(trace.times_s)
    if any(lane.info for lane in trace.lanes):
        return rate.total(((lane.first, crossed(trace.direction, lane.info)) for lane in trace.lanes), count)
    if trace.direction == "down":
        return rate.total(((lane.first, lane.moved) for lane in trace.lanes), count)
    return None


def crossed(direction: Direction, infos: Sequence[TcpInfo]) -> Sequence[float]:
    """Payload bytes of one connection that had crossed the line at each of its samples.

    A connection without a hole is counted by its bytes. With holes, in-order bytes lag until a hole is filled and
    then leap (on lossy lines they read 0.76 to 1.06 of the truth), so the segments that arrived count, each a full
    one; unless they cannot have been full.
    """
    if not infos:
        return []
    if direction == "up":
        return [info.acked for info in infos] if not infos[-1].sent_again else [_delivered(info) for info in infos]
    mss = max(info.receive_mss for info in infos)  # the kernel's guess, from what came so far
    full = infos[-1].data_segments_in * mss
    half_empty = infos[-1].data_segments_in >= MANY and infos[-1].received < HALF_EMPTY * full
    if not infos[-1].out_of_order_in or half_empty:
        return [info.received for info in infos]
    return [info.data_segments_in * mss for info in infos]


def _delivered(info: TcpInfo) -> int:
    """No more than was sent once can have arrived, whatever the segments' sizes."""
    return min(info.delivered * info.send_mss, info.sent - info.sent_again)


def _window(trace: Trace) -> range:
    """The ticks after the warm-up; the later half of all when it ended before there were enough of them."""
    count = len(trace.times_s)
    first = next((i for i, time in enumerate(trace.times_s) if time >= trace.warm_s), count)
    if count - first < rate.MIN_BINS:
        first = max(0, min(first, count // 2, count - 2))
    return range(first, count)


def _slope(times: Sequence[float], curve: Sequence[float] | None, window: range) -> float | None:
    return None if curve is None else rate.slope_mbps(times, [curve[i] for i in window])


def _others(trace: Trace, own_mbps: float | None, times: Sequence[float], window: range) -> float | None:
    """What others moved over the line meanwhile, as the payload of full segments; None without counters.

    An interface counts before the line's queue. What others sent up is thinned there, by less than ours when they
    send evenly and by as much when they push as we do: two thirds of ours was nearest to the truth of both.
    """
    if trace.stepped:
        return _others_by_steps(trace, own_mbps, window)
    seen = [trace.counters[i] for i in window]
    infos = [info for lane in trace.lanes for info in lane.info[-1:]]
    if own_mbps is None or not infos or any(counters is None for counters in seen):
        return None
    down = trace.direction == "down"
    line = rate.slope_mbps(times, [counters.rx if down else counters.tx for counters in seen if counters])
    own_wire = _slope(times, _own_wire(trace), window)
    if line is None or own_wire is None:
        return None
    mss = infos[0].receive_mss if down else infos[0].send_mss
    passed = 1.0 if down else (1 + 2 * _passed(trace, own_mbps, times, window)) / 3
    others = max(0.0, line - own_wire) * mss / (mss + _header(trace, infos[0])) * passed
    return others if others >= NOISE * (own_mbps + others) else 0.0


def _others_by_steps(trace: Trace, own_mbps: float | None, window: range) -> float | None:
    """The same of counters that stand still and leap, from their first leap to their last: after the warm-up, or when
    these lie too close, of the whole run. A router counts behind its queue, so what it counts has passed."""
    infos = [info for lane in trace.lanes for info in lane.info[-1:]]
    first, last = _leaps(trace, window) or _leaps(trace, range(len(trace.times_s))) or (0, 0)
    before, after = _moved(trace, first), _moved(trace, last)
    if own_mbps is None or not infos or first == last or before is None or after is None or after < before:
        return None
    seconds = trace.times_s[last] - trace.times_s[first]
    own = _own_wire(trace)
    mss = infos[0].receive_mss if trace.direction == "down" else infos[0].send_mss
    others = max(0.0, after - before - (own[last] - own[first])) * 8 / 1e6 / seconds
    others *= mss / (mss + _header(trace, infos[0]))
    return others if others >= STEPS_NOISE * (own_mbps + others) else 0.0


def _leaps(trace: Trace, ticks: range) -> tuple[int, int] | None:
    """The first and the last tick at which the counter moved; None when they are too close for a rate."""
    seen = [i for i in ticks if i and _moved(trace, i - 1) not in (None, _moved(trace, i))]
    far = len(seen) > 1 and trace.times_s[seen[-1]] - trace.times_s[seen[0]] >= STEPS_S
    return (seen[0], seen[-1]) if far else None


def _moved(trace: Trace, tick: int) -> int | None:
    counters = trace.counters[tick]
    return None if counters is None else counters.rx if trace.direction == "down" else counters.tx


def _passed(trace: Trace, own_mbps: float, times: Sequence[float], window: range) -> float:
    """The share of what we sent that arrived."""
    sent = _slope(times, _sum(trace, lambda info: info.sent), window)
    return min(1.0, own_mbps / sent) if sent else 1.0


def _own_wire(trace: Trace) -> list[float]:
    """Bytes of our own on the line at each tick, headers included, in the direction measured."""
    if trace.direction == "up":
        return _sum(trace, lambda info: info.sent + info.segments_out * _header(trace, info))
    payload = delivered(trace) or []
    headers = _sum(trace, lambda info: info.segments_in * _header(trace, info))
    return [a + b for a, b in zip(payload, headers, strict=True)]


def _on_line(trace: Trace) -> tuple[int, int]:
    """Bytes that our connections moved over the line, in and out, headers included; what was dropped before it not."""
    last = [lane.info[-1] for lane in trace.lanes if lane.info]
    if not last:
        moved = sum(lane.moved[-1] for lane in trace.lanes if lane.moved)
        return (moved, 0) if trace.direction == "down" else (0, moved)
    payload = (delivered(trace) or [0.0])[-1]
    headers_in = sum(info.segments_in * _header(trace, info) for info in last)
    headers_out = sum(info.segments_out * _header(trace, info) for info in last)
    if trace.direction == "down":
        return round(payload + headers_in), headers_out
    sent = sum(info.sent for info in last)
    return headers_in, round(payload + headers_out * (min(1.0, payload / sent) if sent else 1.0))


def _header(trace: Trace, info: TcpInfo) -> int:
    return trace.ip_bytes + 20 + info.options_bytes + trace.frame_bytes


def _sum(trace: Trace, value: Callable[[TcpInfo], int]) -> list[float]:
    curves = ((lane.first, [value(info) for info in lane.info]) for lane in trace.lanes)
    return rate.total(curves, len(trace.times_s))
