"""The engine of record: our multi-stream client of the LibreSpeed protocol, over http or https.

1. The line at rest: median round trip and jitter.
2. Down, then up: several streams, warm-up discarded, the rate as the slope of what the kernel saw delivered.
3. What the interface's counters saw besides our own bytes is added back as capacity.
4. Flags qualify a figure: a line that was not full gives a lower bound.

Over https the figures still count what TCP delivered, so TLS's own bytes (0.2 % of full records) are in them.
"""

from __future__ import annotations

from agent.probes.probe import ProbeFailed
from agent.probes.speed.engine import SpeedRequest, Throughput
from agent.probes.speed.multistream import phases, tcpinfo, witness
from agent.probes.speed.multistream.modes import MODES
from agent.probes.speed.multistream.saturation import DirectionResult
from agent.probes.speed.multistream.streams import STREAMS
from agent.probes.speed.multistream.transfer import TransferPlan
from agent.probes.target import find, parse

NAME = "librespeed"


def measure(request: SpeedRequest, read: tcpinfo.Read = tcpinfo.read) -> Throughput:
    """Blocks until done, at most `request.deadline_s`. Raises ProbeFailed."""
    if request.mode not in MODES:
        raise ProbeFailed("bad_mode", f"speed mode {request.mode!r} must be one of {', '.join(MODES)}")
    return phases.measure(PROTOCOL, request.mode, MODES[request.mode], request, read)


async def _find(request: SpeedRequest) -> phases.Targets:
    extra = {"test": request.test_id, "token": request.token}
    target = await find(parse(request.server, extra, request.ca_file))
    return {"down": target, "up": target}


async def _corrected(request: SpeedRequest, run: TransferPlan, result: DirectionResult) -> DirectionResult:
    """An upload that this kernel cannot count has the server's figure."""
    if result.mbps is not None or run.streams.direction == "down":
        return result
    return await witness.upload(run.streams.target, request.test_id, run.mode.warmup_s, result)


PROTOCOL = phases.Protocol(name=NAME, kinds=STREAMS, find=_find, corrected=_corrected)
