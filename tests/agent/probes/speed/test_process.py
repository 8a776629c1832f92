"""A speed test's process: it measures, it may crash, hang or lose its parent, and it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from agent.config import SpeedSection
from agent.probes.probe import ProbeFailed
from agent.probes.speed.process import SpeedOrder, in_child
from tests.helpers.measure_server import measure_server
from tests.helpers.processes import child
from tests.helpers.waiting import until, wait_until


def order(server: str, deadline_s: float = 20.0) -> SpeedOrder:
    section = SpeedSection(mode="quick", inline="no")
    return SpeedOrder(server=server, deadline_s=deadline_s, test_id="t1", token="", wan_interface="", section=section)


def failed(script: str, deadline_s: float = 20.0) -> ProbeFailed:
    words = [sys.executable, "-c", script]
    with pytest.raises(ProbeFailed) as caught:
        asyncio.run(in_child(order("http://127.0.0.1:1", deadline_s), lambda _line: None, words))
    return caught.value


def test_a_test_is_carried_out_and_explained() -> None:
    explained: list[str] = []
    with measure_server() as (server, _records):
        report = asyncio.run(in_child(order(server), explained.append))
    assert report.found is not None
    assert (report.found.engine, report.found.server) == ("librespeed", server)
    assert any(line.startswith("down:") for line in explained)


def test_a_test_that_fails_says_why_through_its_process(free_port: int) -> None:
    with pytest.raises(ProbeFailed) as caught:
        asyncio.run(in_child(order(f"http://127.0.0.1:{free_port}"), lambda _line: None))
    assert caught.value.cause == "unreachable"


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("import os; os.abort()", "broken"),
        ("import os; os.kill(os.getpid(), 9)", "memory"),
        ("raise SystemExit(3)", "broken"),
        ("", "broken"),
        ("print('Segmentation fault')", "bad_output"),
        ('print(\'{"cause": "lost_in_space"}\')', "broken"),
        ('print(\'{"found": {"engine": 1}}\')', "bad_output"),
        ("import sys; sys.stdout.write('x' * (3 << 20))", "bad_output"),
    ],
)
def test_a_process_that_breaks_is_a_test_that_failed(script: str, cause: str) -> None:
    assert failed(script).cause == cause


def test_what_a_process_wrote_counts_though_it_ended_before_it_was_asked() -> None:
    """An order longer than a pipe holds is not taken whole."""
    words = [sys.executable, "-c", "print('Segmentation fault')"]
    long = msgspec.structs.replace(order("http://127.0.0.1:1"), token="x" * 1_000_000)
    with pytest.raises(ProbeFailed) as caught:
        asyncio.run(in_child(long, lambda _line: None, words))
    assert caught.value.cause == "bad_output"


HANGS = """
import subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(grandchild.pid))
time.sleep(600)
"""


@pytest.mark.parametrize("looks", ["once it runs", "while it is started"])
def test_a_process_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path, looks: str) -> None:
    script = HANGS.replace("sys.argv[1]", repr(str(tmp_path / "pid")))

    def has_begun(after_s: float = 0.0) -> bool:
        time.sleep(after_s)  # nothing else of the loop runs
        return (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text())

    async def cancelled() -> None:
        words = [sys.executable, "-c", script]
        test = asyncio.create_task(in_child(order("http://127.0.0.1:1"), lambda _line: None, words))
        if looks == "while it is started":  # the child is quicker than the loop, which knows none of its pipes yet
            for _ in range(100):
                await asyncio.sleep(0)
                if has_begun(after_s=0.5):
                    break
        else:
            await until(has_begun)
        test.cancel()
        async with asyncio.timeout(60):
            await asyncio.gather(test, return_exceptions=True)

    asyncio.run(cancelled())
    left = int((tmp_path / "pid").read_text())
    end_s = time.monotonic() + 30
    while psutil.pid_exists(left) and psutil.Process(left).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end_s
        time.sleep(0.05)


PARENT = """
import asyncio
from agent.config import SpeedSection
from agent.probes.speed.process import SpeedOrder, in_child
section = SpeedSection(engine="iperf3")
order = SpeedOrder(server="127.0.0.1", deadline_s=600, test_id="t1", token="", wan_interface="", section=section)
asyncio.run(in_child(order, print))
"""


def test_a_test_ends_with_its_parent_and_with_it_the_program_that_it_runs(tmp_path: Path) -> None:
    program = tmp_path / "iperf3"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with child([sys.executable, "-c", PARENT], env=environment) as parent:
        wait_until(lambda: len(psutil.Process(parent.pid).children(recursive=True)) == 2)
        started = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(signal.SIGKILL)
    _gone, alive = psutil.wait_procs(started, timeout=30)
    for left in alive:
        left.kill()
    assert alive == []
