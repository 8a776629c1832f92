"""Ingest workers at a Mosquitto with the settings we generate: each has a certificate, and none puts another out.

NATS speaks MQTT 3.1.1 alone, which has no shared subscriptions: there can be one worker.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from collector.access.server_certs import server_certificates, worker_certificate
from collector.brokers.endpoints import Address
from collector.ingest.mqtt.subscriber import Subscriber
from tests.agent.uplink.test_renew import now_ms
from tests.faults.brokers.kept_broker import kept
from tests.helpers.collector_side import House

STAYS_S = 3.0  # two sessions of one certificate put each other out each second


def sessions(count: int, tmp_path: Path, *, own: bool) -> list[int]:
    """How often each worker was put out, within some seconds."""
    with ExitStack() as stack:
        house = House(tmp_path / "collector", stack)
        ingest = house.settings.ingest.model_copy(update={"workers": count})
        house.settings = house.settings.model_copy(update={"ingest": ingest})
        broker = stack.enter_context(kept("mosquitto", house, tmp_path / "broker"))
        workers: list[Subscriber] = []
        for number in range(1, count + 1):
            files = (
                worker_certificate(house.authority, house.settings, number, now_ms())
                if own
                else server_certificates(house.authority, house.settings, now_ms())[0].service
            )
            address = Address("127.0.0.1", broker.tls, tls=True, ca=files.ca, cert=files.cert, key=files.key)
            name = f"nabz-test-{number}"
            worker = Subscriber(address, house.ingest, lambda _touched: None, now_ms, name, shared=True)
            worker.start()
            stack.callback(worker.stop)
            assert worker.connected.wait(60)
            workers.append(worker)
        return outs(workers)


def outs(workers: list[Subscriber]) -> list[int]:
    """How often each was out, looked at every few milliseconds; a session that is ended is begun again after .5 s."""
    was, found = [True] * len(workers), [0] * len(workers)
    until_s = time.monotonic() + STAYS_S
    while time.monotonic() < until_s:
        is_in = [worker.connected.is_set() for worker in workers]
        found = [n + (before and not now) for n, before, now in zip(found, was, is_in, strict=True)]
        was = is_in
        time.sleep(0.005)
    return found


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_with_certificates_of_their_own_stay(count: int, tmp_path: Path) -> None:
    assert sessions(count, tmp_path, own=True) == [0] * count


@pytest.mark.slow
def test_workers_with_one_certificate_put_each_other_out(tmp_path: Path) -> None:
    """What the test above would see."""
    assert sum(sessions(2, tmp_path, own=False)) > 1
