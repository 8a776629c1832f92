"""A line in user space: two TUN interfaces and one loop that delays, queues, drops, repeats and reorders.

netem is not in every kernel; this needs only /dev/net/tun and root. Per direction: rate with a drop-tail buffer,
one-way delay, jitter, random loss before the queue. A packet costs its IP length plus 14 bytes, as on Ethernet, so
the goodput of TCP with timestamps is rate x 1448 / 1514.

Late means a packet left the emulator after its time, because this process did not get the CPU: a run with much of
that says something about the machine, not about the meter, and has to be repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import heapq
import json
import os
import random
import select
import signal
import struct
import sys
import time
from dataclasses import dataclass, field

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
FRAME_BYTES = 14
PACKET_BYTES = 2048
GOODPUT = 1448 / 1514


@dataclass(kw_only=True)
class Way:
    """One direction: bits per second, bytes of buffer, seconds of delay and jitter, share of packets lost."""

    rate_bps: float
    buffer_bytes: float
    delay_s: float
    jitter_s: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    free_s: float = 0.0
    due: list[tuple[float, int, bytes]] = field(default_factory=list)
    count: int = 0
    passed: int = 0
    octets: int = 0
    dropped: int = 0
    lost: int = 0
    late_s: float = 0.0

    def take(self, packet: bytes, now: float, dice: random.Random) -> None:
        if self.loss and dice.random() < self.loss:
            self.lost += 1
            return
        size = len(packet) + FRAME_BYTES
        start = max(now, self.free_s)
        if (start - now) * self.rate_bps / 8 + size > self.buffer_bytes:
            self.dropped += 1
            return
        self.free_s = start + size * 8 / self.rate_bps
        for _ in range(2 if self.duplicate and dice.random() < self.duplicate else 1):
            self.count += 1
            at = self.free_s + self.delay_s + (dice.random() * self.jitter_s if self.jitter_s else 0.0)
            heapq.heappush(self.due, (at, self.count, packet))

    def give(self, tun: int, now: float) -> None:
        while self.due and self.due[0][0] <= now:
            at, _, packet = heapq.heappop(self.due)
            with contextlib.suppress(OSError):  # the interface is not up yet
                os.write(tun, packet)
            self.passed += 1
            self.octets += len(packet) + FRAME_BYTES
            self.late_s += now - at


def open_tun(name: str) -> int:
    """A TUN interface of that name in this namespace; it may be moved to another while we hold it."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


def carry(near: int, far: int, down: Way, up: Way, dice: random.Random) -> None:
    """Carries packets until SIGTERM: `near` is the client's end, `far` the server's."""
    poller = select.epoll()
    poller.register(near, select.EPOLLIN)
    poller.register(far, select.EPOLLIN)
    while True:
        now = time.monotonic()
        _read_all(near, up, now, dice)
        _read_all(far, down, now, dice)
        up.give(far, now)
        down.give(near, now)
        next_at = min((way.due[0][0] for way in (up, down) if way.due), default=now + 1)
        wait = next_at - time.monotonic()
        if wait > 0:  # select counts microseconds, epoll milliseconds: it only tells that packets came
            select.select([poller], [], [], min(wait, 1.0))


def _read_all(tun: int, way: Way, now: float, dice: random.Random) -> None:
    for _ in range(64):
        try:
            packet = os.read(tun, PACKET_BYTES)
        except BlockingIOError:
            return
        way.take(packet, now, dice)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.lines.emulator")
    parser.add_argument("--near", required=True, help="name of the client's interface")
    parser.add_argument("--far", required=True, help="name of the server's interface")
    for name in ("down-mbps", "up-mbps", "rtt-ms"):
        parser.add_argument(f"--{name}", type=float, required=True)
    for name, default in (("loss-pct", 0.0), ("jitter-ms", 0.0), ("duplicate-pct", 0.0), ("buffer-ms", 100.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    down, up = (_way(mbps, options) for mbps in (options.down_mbps, options.up_mbps))
    near, far = open_tun(options.near), open_tun(options.far)
    with contextlib.suppress(OSError):  # before everybody else: a late emulator is a slow line
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("ready", flush=True)
    try:
        carry(near, far, down, up, random.Random(options.seed))
    finally:
        print(json.dumps({name: _counts(way) for name, way in (("down", down), ("up", up))}), flush=True)
    return 0


def _way(mbps: float, options: argparse.Namespace) -> Way:
    rate = mbps * 1e6
    return Way(
        rate_bps=rate,
        buffer_bytes=max(15_000.0, rate / 8 * options.buffer_ms / 1000),
        delay_s=options.rtt_ms / 2000,
        jitter_s=options.jitter_ms / 1000,
        loss=options.loss_pct / 100,
        duplicate=options.duplicate_pct / 100,
    )


def _counts(way: Way) -> dict[str, float]:
    return {
        "packets": way.passed,
        "bytes": way.octets,
        "dropped": way.dropped,
        "lost": way.lost,
        "late_mean_ms": round(1000 * way.late_s / max(1, way.passed), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
