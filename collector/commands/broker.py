"""`nabz-collector broker`: the embedded MQTT broker by itself."""

from __future__ import annotations

import argparse
import signal
import threading

from collector.broker import Broker, BrokerError
from collector.config import split_listen
from collector.console import complain, say, start_log

EXAMPLE = "nabz-collector broker --listen 127.0.0.1:1883"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", default="127.0.0.1:1883", metavar="HOST:PORT", help="where (default: loopback)")


def run(options: argparse.Namespace) -> int:
    start_log("info")
    try:
        broker = Broker(*split_listen(options.listen))
    except ValueError as error:
        complain(f"--listen {options.listen}: {error}")
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        broker.start()
    except BrokerError as error:
        complain(str(error))
        return 1
    say(f"broker at {broker.host}:{broker.port}")
    while broker.is_alive() and not stop.wait(1.0):
        pass
    broker.stop()
    return 0
