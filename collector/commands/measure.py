"""`nabz-collector measure`: the measurement server by itself, on a neutral host."""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import logging
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from collector import sdnotify
from collector.measure.admission import ByToken, UsedTokens
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
    parser.add_argument(
        "--collector-key", default="", metavar="BASE64", help="test only with tokens of the collector that has this key"
    )
    parser.add_argument("--name", default="", metavar="NAME", help="how that collector calls this server")
    parser.add_argument("--used", type=Path, metavar="FILE", help="where used tokens are noted, to outlive a restart")


def run(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    host, colon, port = options.listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        return _wrong(f"--listen {options.listen!r} must be HOST:PORT, for example 0.0.0.0:8474")
    if options.tests < 1:
        return _wrong(f"--tests {options.tests} must be 1 or more")
    try:
        admit = _admit(options)
    except ValueError as error:
        return _wrong(str(error))
    except OSError as error:
        print(f"--used {options.used}: cannot be used ({error.strerror}); name a file of ours", file=sys.stderr)
        return 1
    server = MeasureServer(limits=Limits(tests_at_once=options.tests), public=options.public, admit=admit)
    try:
        asyncio.run(_serve(server, host.strip("[]") or "0.0.0.0", int(port)))  # noqa: S104  (a server for all)
    except OSError as error:
        print(f"cannot listen on {options.listen}: {error}; choose another with --listen", file=sys.stderr)
        return 1
    return 0


def _admit(options: argparse.Namespace) -> ByToken | None:
    """Who may test: whoever has a token, or anyone without a collector. Raises ValueError, OSError."""
    if not options.collector_key:
        return None
    try:
        key = base64.b64decode(options.collector_key, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32 or not options.name or options.used is None:
        raise ValueError("--collector-key takes 32 bytes as base64 and needs --name and --used beside it")
    return ByToken(key, options.name, UsedTokens(options.used, time.time_ns() // 1_000_000))


def _wrong(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


async def _serve(server: MeasureServer, host: str, port: int) -> None:
    host, port = await server.start(host, port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    who = "tests only with tokens" if server.sessions.admit else "results are unwitnessed: no collector"
    logging.getLogger(__name__).info("measurement server on http://%s; %s", shown, who)
    sdnotify.tell("READY=1")
    while not stop.is_set():
        sdnotify.tell("WATCHDOG=1")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), ALIVE_S)
    sdnotify.tell("STOPPING=1")
    await server.close()
