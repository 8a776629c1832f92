"""A month's report as a signed PDF, in each language: seconds by the clock and of processor, its size, and whether it
says of itself that it is tagged. Laid out in a process of its own each time, as the pages and the command do it.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.ground.processes import GroundError
from bench.ground.whole import Ground, ground
from bench.proof.month import DAY_MS, HOUR_MS, MONTH, MONTH_END_MS, MonthPlay
from collector.access.ca import Authority
from collector.reports.pdf import pades
from collector.reports.pdf.document import as_pdf
from collector.reports.schedule import told
from collector.run.settings import read_standards
from collector.store.database import opened

LANGUAGES = ("en", "ur")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=float, default=3, metavar="N", help="of the month that are simulated; default 3")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="in each language; default 10")


def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with ground(Path(folder), 1, database="sqlite", at_ms=MONTH_END_MS - int(options.days * DAY_MS)) as made:
                return _printed(made, options)
        except GroundError as error:
            print(f"bench pdf: {error}", file=sys.stderr)
            return 1


def _printed(made: Ground, options: argparse.Namespace) -> int:
    with opened(made.settings) as store:
        play = MonthPlay(made, store, options.days)
        play.measured()
        play.closed()
        code = made.members[0].gateway.center.code
        with store.read() as conn:
            report = told(conn, code, MONTH, read_standards(made.settings), play.now_ms + HOUR_MS)
    key = pades.own_key(Authority(made.settings.data_dir, time.time_ns() // 1_000_000), time.time_ns() // 1_000_000)
    print("| language | n | clock s: median | least | most | CPU s: median | kB | tagged | load |")
    print("|---|---|---|---|---|---|---|---|---|")
    for lang in LANGUAGES:
        clock, cpu, body = [], [], b""
        for _ in range(options.runs):
            began_s, before = time.monotonic(), sum(os.times()[:4])
            body = pades.signed(as_pdf(report, lang), key, pades.reason_of(report))
            clock.append(time.monotonic() - began_s)
            cpu.append(sum(os.times()[:4]) - before)
        print(f"| {lang} | {options.runs} | {statistics.median(clock):.2f} | {min(clock):.2f} | {max(clock):.2f} | "
              f"{statistics.median(cpu):.2f} | {len(body) / 1000:.0f} | {_is_tagged(body, lang)} | "
              f"{os.getloadavg()[0]:.1f} |", flush=True)  # fmt: skip
    return 0


def _is_tagged(body: bytes, lang: str) -> bool:
    from pyhanko.pdf_utils.reader import PdfFileReader

    root = PdfFileReader(io.BytesIO(body)).root
    return root["/Lang"] == lang and bool(root["/MarkInfo"]["/Marked"]) and "/StructTreeRoot" in root
