"""`nabz-collector measure`: the measurement server by itself, on a neutral host."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import suppress

from collector import sdnotify
from collector.measure.limits import Limits
from collector.measure.server import MeasureServer

EXAMPLE = "nabz-collector measure --listen 0.0.0.0:8474"
ALIVE_S = 15.0  # between two words to systemd's watchdog


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", default="0.0.0.0:8474", metavar="HOST:PORT", help="default %(default)s")
    parser.add_argument(
        "--public", default="", metavar="HOST:PORT", help="how clients reach this server, when not by its own address"
    )
    parser.add_argument(
        "--tests", type=int, default=Limits.tests_at_once, metavar="N", help="tests at once, default %(default)s"
    )


def run(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    host, colon, port = options.listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        return _wrong(f"--listen {options.listen!r} must be HOST:PORT, for example 0.0.0.0:8474")
    if options.tests < 1:
        return _wrong(f"--tests {options.tests} must be 1 or more")
    server = MeasureServer(limits=Limits(tests_at_once=options.tests), public=options.public)
    try:
        asyncio.run(_serve(server, host.strip("[]") or "0.0.0.0", int(port)))  # noqa: S104  (a server for all)
    except OSError as error:
        print(f"cannot listen on {options.listen}: {error}; choose another with --listen", file=sys.stderr)
        return 1
    return 0


def _wrong(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


async def _serve(server: MeasureServer, host: str, port: int) -> None:
    host, port = await server.start(host, port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    logging.getLogger(__name__).info("measurement server on http://%s; results are unwitnessed: no collector", shown)
    sdnotify.tell("READY=1")
    while not stop.is_set():
        sdnotify.tell("WATCHDOG=1")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), ALIVE_S)
    sdnotify.tell("STOPPING=1")
    await server.close()
