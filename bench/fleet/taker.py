"""One subscriber at a broker that takes a known number of messages and says what that cost, as a line of JSON.

`python -m bench.fleet.taker KIND CONFIG COUNT`: KIND `signed` is the collector's own listener and ingest; `unsigned` is
the same with a verifier that believes everybody, made for this bench alone; `bare` counts and acknowledges, no more.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent import wire
from bench.ground.processes import now_ms
from collector.access.ca import Authority
from collector.access.enrolment import is_signed
from collector.access.server_certs import server_certificates
from collector.access.signing_key import load_or_make
from collector.access.tls import client_context
from collector.brokers.endpoints import Address, broker_addresses
from collector.common.config import Settings, load
from collector.ingest.mqtt.subscriber import Subscriber
from collector.ingest.transaction import Ingest
from collector.ingest.workers import judge_with
from collector.run.settings import read_standards
from collector.store import Store

LOOK_S = 0.02
GIVE_UP_S = 600.0


@dataclass
class Clock:
    """From being ready to the last thing taken: seconds on the wall, and of this process's processor time."""

    taken: Callable[[], int]
    wanted: int

    def run(self) -> tuple[float, float]:
        until_s, began = time.monotonic() + GIVE_UP_S, self._mark()
        while self.taken() < self.wanted and time.monotonic() < until_s:
            time.sleep(LOOK_S)
        return tuple(end - begin for begin, end in zip(began, self._mark(), strict=True))  # type: ignore[return-value]

    @staticmethod
    def _mark() -> tuple[float, float]:
        times = os.times()
        return time.monotonic(), times.user + times.system


def believes_everybody(_public_key: bytes, _body: bytes, _signature: bytes) -> bool:
    return True


def take(kind: str, settings: Settings, wanted: int) -> dict[str, float]:
    """`wanted` is readings, for `bare` messages; `taken` what came of them."""
    address = broker_addresses(
        settings, server_certificates(Authority(settings.data_dir, now_ms()), settings, now_ms())[0].service
    )
    with ExitStack() as stack:
        if kind == "bare":
            taken = _counter(address[0], stack)
        else:
            store = Store.open(settings.database_url)
            stack.callback(store.close)
            judge = judge_with(settings, read_standards(settings))
            verify = is_signed if kind == "signed" else believes_everybody
            ingest = Ingest(store, load_or_make(settings.data_dir), judge, verify=verify)
            listener = Subscriber(address[0], ingest, lambda _codes: None, now_ms)
            listener.start()
            stack.callback(listener.stop)
            listener.connected.wait(60)
            taken = partial(getattr, listener, "readings")
        print(json.dumps({"ready": True}), flush=True)
        wall_s, cpu_s = Clock(taken, wanted).run()
        return {"taken": taken(), "wall_s": wall_s, "cpu_s": cpu_s}


def _counter(address: Address, stack: ExitStack) -> Callable[[], int]:
    count = [0]
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="nabz-collector", manual_ack=True)
    client.tls_set_context(client_context(address.ca, address.cert, address.key))

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        count[0] += 1
        client.ack(message.mid, message.qos)

    client.on_message = on_message
    client.connect(address.host, address.port)
    client.loop_start()
    stack.callback(client.loop_stop)
    stack.callback(client.disconnect)
    while not client.is_connected():
        time.sleep(LOOK_S)
    client.subscribe(wire.batch_topic("+"), 1)
    return lambda: count[0]


if __name__ == "__main__":
    print(json.dumps(take(sys.argv[1], load(Path(sys.argv[2])), int(sys.argv[3]))))
