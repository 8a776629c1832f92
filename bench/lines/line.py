"""An emulated line between two network namespaces, for as long as a `with` lasts. Needs root."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

CLIENT, SERVER = "10.77.0.2", "10.77.0.1"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the line gives: Mbit/s on the wire, round trip at rest, loss in percent each way, buffer."""

    down_mbps: float
    up_mbps: float
    rtt_ms: float
    loss_pct: float = 0.0
    jitter_ms: float = 0.0
    duplicate_pct: float = 0.0
    buffer_ms: float = 100.0

    def arguments(self) -> list[str]:
        return [word for name, value in vars(self).items() for word in (f"--{name.replace('_', '-')}", str(value))]


@dataclass(kw_only=True)
class Line:
    """`client` and `server` are prefixes that run a command at that end. `counts` is filled when the line is gone."""

    client: list[str]
    server: list[str]
    counts: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def late_ms(self) -> float:
        return max((way["late_mean_ms"] for way in self.counts.values()), default=0.0)


@contextlib.contextmanager
def line(terms: Terms) -> Iterator[Line]:
    """Names carry our process id, so that several may run at once."""
    mark = f"nz{os.getpid()}"
    near, far = f"{mark}c", f"{mark}s"
    for name in (near, far):
        _ip("netns", "add", name)
    try:
        emulator = subprocess.Popen(
            [sys.executable, "-m", "bench.lines.emulator", "--near", near, "--far", far, *terms.arguments()],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert emulator.stdout is not None
        try:
            if emulator.stdout.readline().strip() != "ready":
                raise RuntimeError("the emulator did not start; it needs root and /dev/net/tun")
            _wire(near, CLIENT, SERVER)
            _wire(far, SERVER, CLIENT)
            made = Line(client=["ip", "netns", "exec", near], server=["ip", "netns", "exec", far])
            yield made
        finally:
            emulator.terminate()
            output, _ = emulator.communicate()
        made.counts = json.loads(output)
    finally:
        for name in (near, far):
            _ip("netns", "del", name)


def _wire(name: str, own: str, other: str) -> None:
    _ip("link", "set", name, "netns", name)
    _ip("-n", name, "addr", "add", own, "peer", other, "dev", name)
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "link", "set", name, "txqueuelen", "1000", "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
