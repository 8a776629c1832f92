"""`nabz-collector broker`: the embedded MQTT broker by itself."""

from __future__ import annotations

import argparse
import signal

from agent.common import logs
from agent.common.errors import describe
from agent.common.threads import SignalEvent
from collector.brokers.embedded import BrokerError, EmbeddedBroker
from collector.commands.console import complain, say, start_log
from collector.common.config import is_loopback, split_listen

EXAMPLE = "nabz-collector broker --listen 127.0.0.1:1883"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", default="127.0.0.1:1883", metavar="HOST:PORT", help="where (default: loopback)")
    parser.add_argument(
        "--trust-network", action="store_true", help="let anybody on the network in; only in a closed laboratory"
    )
    logs.argument(parser)


def run(options: argparse.Namespace) -> int:
    start_log("info", options.log_format)
    try:
        place, safe = split_listen(options.listen), options.trust_network or is_loopback(options.listen)
    except ValueError as error:
        complain(f"--listen {options.listen}: {describe(error)}")
        return 2
    if not safe:
        complain(
            f"--listen {options.listen}: would let in anybody on the network; run `nabz-collector serve` with [broker] "
            "tls_listen, or a broker set up by `nabz-collector broker-config`"
        )
        return 2
    broker = EmbeddedBroker(*place)
    stop = SignalEvent()
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
