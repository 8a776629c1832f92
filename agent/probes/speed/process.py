"""One speed test in a process of its own: its memory goes back to the system with it, and what ends it in the middle
(a crash, the kernel for want of memory) is a test that failed, not an agent that did.

The order is one line of JSON on its standard input, so that no token stands on a command line; what it explains and
reports are lines of JSON on its standard output. It ends with its parent, whose end closes the input.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from agent import wire
from agent.common.causes import Cause
from agent.common.errors import describe
from agent.common.releases import launch
from agent.config import SpeedSection
from agent.probes.probe import ProbeFailed
from agent.probes.speed.engine import Throughput

START_S = 10.0  # for a small machine to load Python, and to let go of it
LINE_BYTES = 1 << 20
CHILD = "agent.probes.speed.child"


class SpeedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure: the names of `SpeedRequest`, and the settings."""

    server: str
    deadline_s: float
    test_id: str
    token: str
    wan_interface: str
    section: SpeedSection


class SpeedReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the child: an explanation, or what it found, or why it found nothing."""

    explained: str | None = None
    found: Throughput | None = None
    others_from: Literal["interface", "router"] | None = None
    address: str | None = None
    network: str | None = None
    cause: str = ""
    detail: str = ""


async def in_child(order: SpeedOrder, explain: Callable[[str], None], words: Sequence[str] = ()) -> SpeedReport:
    """What the child found; `found` is there. `words` are its command line, for tests. Raises ProbeFailed, also where
    the child breaks."""
    process = await _started(words or launch.command(CHILD))
    try:
        async with asyncio.timeout(order.deadline_s + START_S):
            report = await _talk(process, order, explain)
            code = await process.wait()
    except TimeoutError:
        raise ProbeFailed("timeout", f"the test had no result within {order.deadline_s:g} s") from None
    finally:
        await _end(process)
    if report is None:
        raise _broken(code)
    if report.found is None:
        raise ProbeFailed(_known(report.cause), report.detail)
    return report


async def _started(command: Sequence[str]) -> asyncio.subprocess.Process:
    """Raises ProbeFailed. Whoever gives up meanwhile waits until it can be ended whole: asyncio would end the child
    alone, and wait for what that has started."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=nothing, limit=LINE_BYTES, start_new_session=True
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await _end(await starting)
        raise
    except OSError as error:
        raise ProbeFailed("broken", f"no process for the test could be started: {describe(error)}") from None


async def _talk(
    process: asyncio.subprocess.Process, order: SpeedOrder, explain: Callable[[str], None]
) -> SpeedReport | None:
    assert process.stdin is not None
    assert process.stdout is not None
    report = None
    try:
        with contextlib.suppress(OSError):  # it takes no more; what it has written still tells why
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            await process.stdin.drain()
        while line := await process.stdout.readline():
            entry = msgspec.json.decode(line, type=SpeedReport)
            if entry.explained is not None:
                explain(entry.explained)
            else:
                report = entry
    except OSError:  # its end tells what happened
        return None
    except (ValueError, *wire.UNREADABLE) as error:
        raise ProbeFailed("bad_output", f"the test's process wrote no report: {describe(error)}") from None
    return report


async def _end(process: asyncio.subprocess.Process) -> None:
    """With all that it started: an engine may be a program of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone already
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _broken(code: int) -> ProbeFailed:
    if code == -signal.SIGKILL:
        return ProbeFailed("memory", "the system ended the test's process, as it does when memory runs out")
    how = f"by signal {-code}" if code < 0 else f"with {code}"
    return ProbeFailed("broken", f"the test's process ended {how} and reported nothing")


def _known(cause: str) -> Cause:
    try:
        return msgspec.convert(cause, Cause)  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        return "broken"
