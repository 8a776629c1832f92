"""The process of one speed test: carries out one order, writes what it found, and ends (agent.probes.speed.process)."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Sequence

import msgspec

from agent.common.errors import describe
from agent.probes.probe import ProbeFailed
from agent.probes.speed import ENGINES
from agent.probes.speed.cross_traffic import measure
from agent.probes.speed.engine import SpeedRequest
from agent.probes.speed.process import SpeedOrder, SpeedReport
from agent.probes.speed.server_view import ServerView, seen_by
from agent.probes.target import is_self_test


def main(_argv: Sequence[str] = ()) -> None:
    """Never returns: a thread that still waits for a name's answer must not hold up the end."""
    began_s = time.monotonic()
    stop = threading.Event()
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=SpeedOrder)
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    _write(carried_out(order, stop, began_s))
    os._exit(0)


def carried_out(order: SpeedOrder, stop: threading.Event, began_s: float) -> SpeedReport:
    """The test's result or failure. `began_s` is of the monotonic clock."""
    try:
        server, section = order.server, order.section
        seen = ServerView() if is_self_test(server) else asyncio.run(seen_by(server, section.ca_file))
        request = SpeedRequest(
            server=server,
            mode=section.mode,
            deadline_s=order.deadline_s - (time.monotonic() - began_s),
            test_id=order.test_id,
            token=order.token,
            wan_interface=order.wan_interface,
            plan_mbps=section.plan_mbps,
            ca_file=section.ca_file,
            locate_url=section.locate_url,
            stop=stop,
            explain=lambda text: _write(SpeedReport(explained=text)),
        )
        measured = measure(ENGINES[section.engine], request, section)
    except ProbeFailed as failed:
        return SpeedReport(cause=failed.cause, detail=failed.detail)
    except MemoryError:
        return SpeedReport(cause="memory", detail="the test needed more memory than it may have")
    except Exception as error:
        return SpeedReport(cause="broken", detail=describe(error))
    return SpeedReport(
        found=measured.found, others_from=measured.others_from, address=seen.address, network=seen.network
    )


def _write(report: SpeedReport) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


def _end_with_parent(stop: threading.Event) -> None:
    """The parent says nothing more: its end alone closes the input."""
    sys.stdin.buffer.read()
    stop.set()  # external programs are ended by who runs them
    time.sleep(1)
    os._exit(1)
