"""speedtest-cli 2.1.3, unmodified, as a subprocess: a second opinion with a known bias, never the figure of record.

It counts bytes when they are handed to a socket (+5 to +25 % on uplinks under 2 Mbit/s) and has slow start inside
(-2 to -19 % down). It cannot be imported safely (it replaces builtins, and fails without a real standard output), can
take 175 MB and has no deadline of its own; a process of its own bounds all three.
"""

from __future__ import annotations

import os
import sys
import time
from urllib.parse import urlsplit

import msgspec

from agent import wire
from agent.common.errors import describe
from agent.probes.probe import ProbeFailed
from agent.probes.speed.engine import PUBLIC, SpeedRequest, Throughput
from agent.probes.speed.engines import external_program
from agent.probes.target import parse

NAME = "ookla"
MEMORY_BYTES = 384 * 1024 * 1024
MISSING_PING_MS = 1e6  # it reports 1800000 when no latency.txt was reached
OUTPUT_BYTES = 64 * 1024

UNRESOLVED = ("[Errno -2]", "[Errno -3]", "[Errno -5]")  # EAI_NONAME, EAI_AGAIN, EAI_NODATA of <netdb.h>
NO_SERVER = ("ExpatError", "Malformed speedtest.net", "HTTP Error 511")  # a page in the place of its settings

# The child bounds itself before it loads the tool: address space, and thread stacks that fit into it.
_SHIM = f"""
import resource, runpy, threading, warnings
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES}, {MEMORY_BYTES}))
threading.stack_size(512 * 1024)
warnings.simplefilter("ignore")
runpy.run_module("speedtest", run_name="__main__", alter_sys=True)
"""


class _Server(msgspec.Struct):
    url: str = ""


class _OoklaReport(msgspec.Struct):
    """The fields we use of `speedtest-cli --json`: bits per second, milliseconds, bytes."""

    download: float
    upload: float
    ping: float
    bytes_sent: int
    bytes_received: int
    server: _Server


def measure(request: SpeedRequest) -> Throughput:
    """Blocks until done, at most `request.deadline_s`. Raises ProbeFailed."""
    public = request.server in ("", PUBLIC)
    started = time.monotonic()
    options = ["--json", "--no-pre-allocate", *(["--secure"] if public else [])]
    environment = _environment("" if public else request.server)
    done = external_program.run(
        "speedtest-cli", [sys.executable, "-c", _SHIM, *options], environment, request, OUTPUT_BYTES
    )
    request.explain(f"speedtest-cli: {done.output.strip()[:200]}")
    if done.code != 0:
        raise failure(done.errors, request.server)
    return parse_output(done.output, request.mode, round(time.monotonic() - started, 2))


def parse_output(output: str, mode: str, seconds: float) -> Throughput:
    """Raises ProbeFailed(``bad_output``)."""
    try:
        report = msgspec.json.decode(output.encode(), type=_OoklaReport)
    except wire.UNREADABLE as error:
        raise ProbeFailed("bad_output", f"speedtest-cli's answer is not its JSON: {describe(error)}") from None
    if report.download <= 0 or report.upload <= 0 or not report.bytes_received or not report.bytes_sent:
        raise ProbeFailed("interrupted", "speedtest-cli: its server took or gave nothing, which it reports as 0 bit/s")
    from importlib import metadata  # 3 MB that a gateway without this engine need not hold

    return Throughput(
        engine=NAME,
        engine_version=metadata.version("speedtest-cli"),
        server=report.server.url[:200],
        mode=mode,
        tls=report.server.url.startswith("https:"),
        download_mbps=round(report.download / 1e6, 4),
        upload_mbps=round(report.upload / 1e6, 4),
        idle_rtt_ms=report.ping if report.ping < MISSING_PING_MS else None,
        bytes_total=report.bytes_sent + report.bytes_received,
        seconds=seconds,
    )


def _environment(server: str) -> dict[str, str]:
    """Ours with the tool's own server list taken from `server` as if it were a proxy; the tests then go direct."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    if not server:
        return kept | {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    target = parse(server, {})
    if target.tls is not None:
        raise ProbeFailed("bad_server", f"the ookla engine needs a server at http://, not {server[:100]!r}")
    return kept | {"http_proxy": f"http://{urlsplit(server).netloc}", "no_proxy": target.host}


def failure(errors: str, server: str) -> ProbeFailed:
    """What speedtest-cli's last words mean."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    text = lines[-1].removeprefix("ERROR: ")[:150] if lines else "no output"
    if "MemoryError" in errors:
        return ProbeFailed("memory", f"speedtest-cli needed more than its {MEMORY_BYTES >> 20} MB")
    place = server or "its public service"
    if any(word in errors for word in UNRESOLVED):
        return ProbeFailed("dns", f"speedtest-cli: the name of {place} does not resolve: {text}")
    if any(word in errors for word in NO_SERVER):
        return ProbeFailed("not_a_speed_server", f"speedtest-cli: what answers at {place} is no such server: {text}")
    if "CERTIFICATE_VERIFY_FAILED" in errors:
        return ProbeFailed("certificate", f"speedtest-cli: {text}")
    if "urlopen error" in errors or "Cannot retrieve" in errors or "Unable to connect" in errors:
        return ProbeFailed("unreachable", f"speedtest-cli cannot reach {place}: {text}")
    return ProbeFailed("failed", f"speedtest-cli: {text}")
