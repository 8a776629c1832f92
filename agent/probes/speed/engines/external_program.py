"""An external program as an engine: a process of its own, with our deadline, our stop, and a limit on its output."""

from __future__ import annotations

import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, cast

from agent.probes.probe import ProbeFailed
from agent.probes.speed.engine import SpeedRequest

POLL_S = 0.25


@dataclass(frozen=True, kw_only=True)
class ProgramOutput:
    """The program's standard output and standard error, and its exit code."""

    output: str
    errors: str
    code: int


def run(
    name: str, command: Sequence[str], environment: Mapping[str, str], request: SpeedRequest, max_bytes: int
) -> ProgramOutput:
    """Runs to its end or kills it. Raises ProbeFailed (``stopped``, ``timeout``, ``bad_output``), and OSError when
    there is no such program."""
    ends = time.monotonic() + request.deadline_s
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        try:
            streams = _read(name, process, request, ends, max_bytes)
            while process.poll() is None:
                _check(name, request, ends)
                time.sleep(POLL_S / 10)
        finally:
            process.kill()
    output, errors = (text.decode("utf-8", "replace") for text in streams)
    return ProgramOutput(output=output, errors=errors, code=process.returncode)


def _read(
    name: str, process: subprocess.Popen[bytes], request: SpeedRequest, ends: float, max_bytes: int
) -> list[bytearray]:
    """What comes on both pipes until they close."""
    streams = [bytearray(), bytearray()]
    with selectors.DefaultSelector() as selector:
        for pipe, kept in zip((process.stdout, process.stderr), streams, strict=True):
            selector.register(cast(IO[bytes], pipe), selectors.EVENT_READ, kept)
        while selector.get_map():
            _check(name, request, ends)
            for key, _ in selector.select(POLL_S):
                piece = cast(IO[bytes], key.fileobj).read1(16 * 1024)  # type: ignore[attr-defined]
                if not piece:
                    selector.unregister(key.fileobj)
                key.data.extend(piece)
                if len(key.data) > max_bytes:
                    raise ProbeFailed("bad_output", f"{name} wrote more than {max_bytes} bytes")
    return streams


def _check(name: str, request: SpeedRequest, ends: float) -> None:
    if request.stop.is_set():
        raise ProbeFailed("stopped", "the speed test was stopped before it had a result")
    if time.monotonic() > ends:
        raise ProbeFailed("timeout", f"{name} did not finish within its deadline of {request.deadline_s:g} s")
