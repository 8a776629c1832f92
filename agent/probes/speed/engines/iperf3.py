"""iperf3, Debian's binary as a subprocess, against an `iperf3 -s` of your own: for engineers, never of record.

Down, then up, four streams, the first second omitted, each counted where it arrived. Such a server takes one test at a
time, takes no token and signs nothing, so its results are unwitnessed. Bytes are payload, not the line's.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from agent import wire
from agent.common.errors import describe
from agent.probes.probe import ProbeFailed
from agent.probes.speed.engine import SpeedRequest, Throughput
from agent.probes.speed.engines import external_program

NAME = "iperf3"
PORT = 5201
STREAMS, OMIT_S = 4, 1
SECONDS = {"quick": 3, "adaptive": 6, "full": 10}  # each direction, after what is omitted
CONNECT_MS = 5000
AGAIN_S = 1.0
OUTPUT_BYTES = 256 * 1024

Figure = Annotated[float, msgspec.Meta(ge=0, le=1e15)]


class _Sum(msgspec.Struct):
    bits_per_second: Figure = 0.0
    bytes: Figure = 0


class _Sender(msgspec.Struct):
    """The mean round trip in microseconds; 0 where the sender's kernel does not report it."""

    mean_rtt: Figure = 0


class _Stream(msgspec.Struct):
    sender: _Sender = msgspec.field(default_factory=_Sender)


class _End(msgspec.Struct):
    sum_received: _Sum | None = None
    streams: Annotated[list[_Stream], msgspec.Meta(max_length=128)] = []


class _Start(msgspec.Struct):
    version: str = ""


class _Iperf3Report(msgspec.Struct):
    """The fields we use of `iperf3 --json`."""

    start: _Start = msgspec.field(default_factory=_Start)
    end: _End = msgspec.field(default_factory=_End)
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Iperf3Direction:
    """One direction; `rtt_ms` is the mean round trip under its load."""

    version: str
    mbps: float
    bytes: int
    rtt_ms: float | None


def measure(request: SpeedRequest, program: str = NAME) -> Throughput:
    """Blocks until done, at most `request.deadline_s`. Raises ProbeFailed."""
    if request.mode not in SECONDS:
        raise ProbeFailed("bad_mode", f"speed mode {request.mode!r} must be one of {', '.join(SECONDS)}")
    host, port = place(request.server)
    started = time.monotonic()
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ProbeFailed("dns", f"the name {host} does not resolve ({describe(error)})") from None
    down = _way(request, program, host, port, ["--reverse"])
    up = _second(request, started + request.deadline_s, program, host, port)
    return Throughput(
        engine=NAME,
        engine_version=up.version[:60],
        server=f"iperf3://{_shown(host)}:{port}"[:200],
        mode=request.mode,
        tls=False,
        download_mbps=round(down.mbps, 4),
        upload_mbps=round(up.mbps, 4),
        loaded_rtt_down_ms=down.rtt_ms,
        loaded_rtt_up_ms=up.rtt_ms,
        bytes_total=down.bytes + up.bytes,
        seconds=round(time.monotonic() - started, 2),
    )


def place(server: str) -> tuple[str, int]:
    """HOST[:PORT] or iperf3://HOST[:PORT]; of an http address the host, for its port is another service's.
    Raises ProbeFailed(``bad_server``)."""
    try:
        parts = urlsplit(server if "://" in server else f"iperf3://{server}")
        port = parts.port if parts.scheme == NAME else None
        host = parts.hostname or ""
    except ValueError:
        host, port = "", None
    if not host or host.startswith("-"):
        raise ProbeFailed("bad_server", f"speed server {server[:100]!r} must be HOST or iperf3://HOST:PORT")
    return host, port or PORT


def parse_output(output: str) -> Iperf3Direction:
    """One direction's answer. Raises ProbeFailed (``busy``, ``unreachable``, ``failed``, ``bad_output``)."""
    try:
        report = msgspec.json.decode(output.encode(), type=_Iperf3Report)
    except wire.UNREADABLE as error:
        raise ProbeFailed("bad_output", f"iperf3's answer is not its JSON: {describe(error)}") from None
    if report.error:
        raise _failure(report.error)
    if report.end.sum_received is None:
        raise ProbeFailed("bad_output", "iperf3's answer has no figure of what arrived")
    if not report.end.sum_received.bytes:
        raise ProbeFailed("stalled", "iperf3: not a byte arrived; the line to the server carried nothing")
    rtts = [stream.sender.mean_rtt for stream in report.end.streams if stream.sender.mean_rtt]
    return Iperf3Direction(
        version=report.start.version.removeprefix("iperf").strip(),
        mbps=report.end.sum_received.bits_per_second / 1e6,
        bytes=round(report.end.sum_received.bytes),
        rtt_ms=round(sum(rtts) / len(rtts) / 1000, 3) if rtts else None,
    )


def _second(request: SpeedRequest, ends: float, program: str, host: str, port: int) -> Iperf3Direction:
    """Such a server stops listening for a moment after each test: it is tried once more when it does not answer."""
    try:
        return _way(replace(request, deadline_s=ends - time.monotonic()), program, host, port, [])
    except ProbeFailed as failed:
        if failed.cause not in ("busy", "unreachable"):
            raise
    request.stop.wait(AGAIN_S)
    return _way(replace(request, deadline_s=ends - time.monotonic()), program, host, port, [])


def _way(request: SpeedRequest, program: str, host: str, port: int, options: list[str]) -> Iperf3Direction:
    seconds = SECONDS[request.mode]
    command = [program, "--client", host, "--port", str(port), "--json", *options]
    command += ["--time", str(seconds), "--omit", str(OMIT_S), "--parallel", str(STREAMS)]
    command += ["--connect-timeout", str(CONNECT_MS)]
    try:
        done = external_program.run(NAME, command, os.environ, request, OUTPUT_BYTES)
    except OSError as error:
        sentence = f"the program {program} cannot be run ({describe(error)}); install it (Debian: apt install iperf3)"
        raise ProbeFailed("no_iperf3", sentence) from None
    if not done.output.strip():
        raise ProbeFailed("failed", f"iperf3 ended with {done.code}: {done.errors.strip()[:120] or 'no output'}")
    figures = parse_output(done.output)
    request.explain(f"iperf3 {'down' if options else 'up'}: {figures.mbps:.2f} Mbit/s, {figures.rtt_ms} ms under load")
    return figures


def _failure(error: str) -> ProbeFailed:
    text = error.removeprefix("error - ")[:150]
    if "busy" in text:
        return ProbeFailed("busy", f"the iperf3 server takes one test at a time: {text}")
    if "unknown control message" in text:
        return ProbeFailed("not_a_speed_server", f"what answers is no iperf3 server: {text}")
    if "unable to connect" in text or "unable to send control" in text:
        return ProbeFailed("unreachable", f"iperf3: {text}; check the address and that `iperf3 -s` runs there")
    return ProbeFailed("failed", f"iperf3: {text}")


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
