"""Lines that go dark without a word, and lines that lose a third of everything and take their time."""

from __future__ import annotations

import json
import os
import queue
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.lines.line import SERVER, Line, Terms, line
from tests.faults.lines.line_work import prepare
from tests.faults.rig import ROOT

pytestmark = [pytest.mark.root, pytest.mark.slow]

NOTICED_S = 90.0
BACK_S = 60.0  # the kernel's own pauses between first packets, and the backoff
BAD = Terms(down_mbps=2, up_mbps=1, rtt_ms=800, loss_pct=30)
GOOD = Terms(down_mbps=20, up_mbps=10, rtt_ms=40)


@pytest.fixture(autouse=True)
def _needs_namespaces() -> None:
    if (os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nft") is None) and "CI" not in os.environ:
        pytest.skip("needs root, ip(8) and nft(8) to lay a line")


class Ends:
    """A server and gateways at the ends of a line; what gateways say comes in order."""

    def __init__(self, laid: Line, folder: Path) -> None:
        self.laid, self.folder = laid, folder
        self._processes: list[subprocess.Popen[str]] = []
        self.said: queue.Queue[dict[str, Any]] = queue.Queue()
        output = self._run(
            [*laid.server, sys.executable, "-m", "tests.faults.lines.line_work", "server", str(folder), SERVER]
        )
        self.port = output.readline().strip()
        assert self.port.isdecimal(), (folder / "stderr").read_text()[-2000:]

    def _run(self, argv: list[str]) -> Any:
        with (self.folder / "stderr").open("ab") as log:
            process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        self._processes.append(process)
        return process.stdout

    def gateways(self, count: int, backlog: int, trickling: int) -> None:
        numbers = map(str, (count, backlog, trickling))
        words = ["-m", "tests.faults.lines.line_work", "gateways", str(self.folder), SERVER, self.port, *numbers]
        output = self._run([*self.laid.client, sys.executable, *words])
        threading.Thread(target=lambda: [self.said.put(json.loads(row)) for row in output], daemon=True).start()

    def nft(self, *words: str) -> None:
        subprocess.run([*self.laid.server, "nft", *words], check=True)

    def wait(self, count: int, seconds: float, **wanted: object) -> dict[int, dict[str, Any]]:
        """The first time each of `count` gateways said this."""
        found: dict[int, dict[str, Any]] = {}
        until_s = time.monotonic() + seconds
        while len(found) < count:
            try:
                row = self.said.get(timeout=max(0.0, until_s - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{sorted(found)} of {count} within {seconds:g} s: {wanted}") from None
            if all(row[key] == value for key, value in wanted.items()):
                found.setdefault(row["gateway"], row)
        return found

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@contextmanager
def ends(terms: Terms, folder: Path, count: int) -> Iterator[Ends]:
    prepare(folder, count, SERVER)
    with line(terms) as laid:
        made = Ends(laid, folder)
        try:
            yield made
        finally:
            made.close()


@pytest.mark.row(19)
def test_a_line_that_goes_dark_without_a_word_is_noticed_in_90_s_and_found_again(tmp_path: Path) -> None:
    count = 12
    with ends(GOOD, tmp_path, count) as here:
        here.gateways(count, backlog=5, trickling=count // 2)
        here.wait(count, 60, state="connected", drained=True)
        time.sleep(20)
        here.nft("add", "table", "inet", "dark")
        for way in ("input", "output"):
            here.nft("add", "chain", "inet", "dark", way, f"{{ type filter hook {way} priority 0; }}")
            here.nft("add", "rule", "inet", "dark", way, "iifname" if way == "input" else "oifname", "!=", "lo", "drop")
        dark_s = time.monotonic()
        noticed = here.wait(count, NOTICED_S + 30, state="off")
        after_s = sorted(row["at_s"] - dark_s for row in noticed.values())
        here.nft("delete", "table", "inet", "dark")
        back_s = time.monotonic()
        again = here.wait(count, 240, state="connected")
        resumed_s = sorted(row["at_s"] - back_s for row in again.values())
    load = os.getloadavg()[0]
    print(f"dark line noticed, n={count}: median {statistics.median(after_s):.1f} s, worst {after_s[-1]:.1f} s; ")
    print(f"back again: median {statistics.median(resumed_s):.1f} s, worst {resumed_s[-1]:.1f} s; load {load:.1f}")
    assert after_s[-1] <= NOTICED_S
    assert resumed_s[-1] <= BACK_S


@pytest.mark.row(20)
def test_a_backlog_drains_over_30_pct_loss_each_way_and_800_ms(torture: bool, tmp_path: Path) -> None:
    """Twelve hours are 7,200 readings; the full count has them, the shorter run ten minutes of them six times."""
    count, backlog, seconds = (1, 7200, 3600.0) if torture else (6, 100, 600.0)
    with ends(BAD, tmp_path, count) as here:
        began_s = time.monotonic()
        here.gateways(count, backlog, trickling=0)
        drained = here.wait(count, seconds, drained=True)
        took_s = sorted(row["at_s"] - began_s for row in drained.values())
    load = os.getloadavg()[0]
    print(f"{backlog} readings, 30 % loss each way, 800 ms, n={count}: median {statistics.median(took_s):.1f} s,")
    print(f"worst {took_s[-1]:.1f} s; late {here.laid.late_ms:.1f} ms; load {load:.1f}; {here.laid.counts}")
