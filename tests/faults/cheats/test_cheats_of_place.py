"""Lines, addresses and machines: each cheat through a real broker and ingest, and what finds it."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from paho.mqtt import client as mqtt

from agent import wire
from collector.access import devices
from collector.access.acl import FLAPS
from collector.brokers.embedded import EmbeddedBroker
from collector.brokers.listeners import Listener
from collector.judging import place_facts
from collector.store import schema
from tests.collector.conftest import Gateway
from tests.faults.cheats.cheats import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    OTHER,
    PTCL,
    Cheat,
    Collector,
    cases,
    enrolled,
    find,
)
from tests.helpers.authority import TestAuthority
from tests.helpers.waiting import wait_until


def move_away(here: Collector, mine: Gateway) -> None:
    for day in range(14):
        here.now_ms = NOON + day * DAY
        here.see(here.grant(mine), mine, min_rtt_ms=40.0 if day < 7 else 3.0)


def tunnel(here: Collector, mine: Gateway) -> None:
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        here.see(here.grant(mine), mine, asn=16276, network="AS16276 OVH SAS")


def go_by_another_line(here: Collector, mine: Gateway) -> None:
    """Sessions come by the center's own line, only tests by a better one."""
    with here.store.write() as conn:
        row = {"center": mine.center, "device": mine.device, "source": "session", "address": "203.0.113.9"}
        times = {"first_ms": here.now_ms, "last_ms": here.now_ms + DAY}
        conn.execute(sa.insert(schema.sightings).values(**row, asn=PTCL, network="AS17557 PTCL", **times))
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        here.see(here.grant(mine), mine, asn=OTHER, network="AS9541 CYBERNET")


def share_a_line(here: Collector, mine: Gateway) -> None:
    """Two centers run their tests over one good line."""
    other = enrolled(here.store, "KHI-1")
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        for gateway in (mine, other):
            here.see(here.grant(gateway), gateway, asn=PTCL, network="AS17557 PTCL", address="203.0.113.77")


def change_the_provider(here: Collector, mine: Gateway) -> None:
    """A cheaper line than the one that is paid for."""
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        here.see(here.grant(mine), mine, asn=OTHER, network="AS9541 CYBERNET")


def share_a_telephone(here: Collector, mine: Gateway) -> None:
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        here.see(here.grant(mine), mine, asn=45669, network="AS45669 Mobilink")


def one_router_for_two(here: Collector, mine: Gateway) -> None:
    for number, gateway in enumerate((mine, enrolled(here.store, "KHI-1"))):
        here.live(gateway, wire.GatewayReading(machine=f"a{number}" * 8, router="cd" * 8, hardware="physical"))


def one_machine_for_two(here: Collector, mine: Gateway) -> None:
    for gateway in (mine, enrolled(here.store, "KHI-1")):
        here.live(gateway, wire.GatewayReading(machine="ab" * 8, router="cd" * 8, hardware="physical"))


def a_virtual_gateway(here: Collector, mine: Gateway) -> None:
    here.live(mine, wire.GatewayReading(machine="ab" * 8, hardware="virtual"))


def change_a_provider_that_is_not_known(here: Collector, mine: Gateway) -> None:
    """The register's provider has no networks in the settings; a week of another follows on one of its own."""
    with here.store.write() as conn:
        conn.execute(sa.update(schema.centers).values(isp="A provider of Gulberg"))
    for day in range(14):
        here.now_ms = NOON + day * DAY
        asn, name = (PTCL, "AS17557 PTCL") if day < 7 else (OTHER, "AS9541 CYBERNET")
        here.see(here.grant(mine), mine, asn=asn, network=name)


def join_from_another_center(here: Collector, mine: Gateway) -> None:
    """The gateway of a center that is none stands in another's office, where it was enrolled."""
    other, office = enrolled(here.store, "KHI-1"), "39.32.5.7"
    here.see(here.grant(other), other, asn=PTCL, network="AS17557 PTCL", address=office)
    with here.store.write() as conn:
        place_facts.record_sightings(conn, "enrolment", [(mine.device, office)], here.now_ms, lambda _address: None)
    here.live(mine, wire.GatewayReading(machine="ab" * 8, hardware="physical"))


def work_in_a_cloud(here: Collector, mine: Gateway) -> None:
    """A rented machine that says it is a real one."""
    for hour in range(8):
        here.now_ms = NOON + hour * HOUR
        here.live(mine, wire.GatewayReading(machine="ab" * 8, hardware="physical"))
        here.see(here.grant(mine), mine, asn=16509, network="AS16509 Amazon.com, Inc.", address="203.0.113.99")


def copy_the_key(here: Collector, mine: Gateway) -> None:
    """Two machines with one key, at two addresses: each session of the one ends one of the other."""
    with ExitStack() as stack:
        authority = TestAuthority(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        files = authority.client(mine.device)
        broker = EmbeddedBroker("127.0.0.1", 0, [Listener("127.0.0.1", 0, "tcp", authority.server())])
        broker.start()
        stack.callback(broker.stop)
        for number in range(FLAPS + 1):
            come = threading.Event()
            session = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=mine.device, reconnect_on_failure=False)
            session.tls_set(str(files.ca), str(files.cert), str(files.key))
            session.on_connect = lambda *_words, come=come: come.set()
            session.connect("127.0.0.1", broker.ports[1], bind_address=f"127.0.0.{2 + number % 2}")
            session.loop_start()
            stack.callback(session.loop_stop)
            stack.callback(session.disconnect)
            assert come.wait(60)
        wait_until(lambda: broker.book.counts["takeover"] >= FLAPS)
        with here.store.write() as conn:
            devices.record_findings(conn, broker.book.findings(), here.now_ms)


CHEATS: dict[str, Cheat] = {
    "another provider, of no known networks": (change_a_provider_that_is_not_known, "new_network", MINUTE),
    "a gateway joins from another center": (join_from_another_center, "shared_address", MINUTE),
    "a copied key is used twice": (copy_the_key, "clone", 0),
    "the gateway moves to a good line": (move_away, "moved", MINUTE),
    "the gateway is rented in a cloud": (work_in_a_cloud, "vpn", MINUTE),
    "tests go through a tunnel": (tunnel, "vpn", MINUTE),
    "only tests go by a better line": (go_by_another_line, "other_line", MINUTE),
    "two centers test over one line": (share_a_line, "shared_address", HOUR),
    "one machine is two centers": (one_machine_for_two, "shared_machine", MINUTE),
    "one router is two centers'": (one_router_for_two, "shared_router", MINUTE),
    "another provider's line": (change_the_provider, "other_network", MINUTE),
    "a telephone's line": (share_a_telephone, "hotspot", MINUTE),
    "the gateway is a virtual machine": (a_virtual_gateway, "virtual", MINUTE),
}


@pytest.mark.row(61)
@pytest.mark.parametrize("name", cases(CHEATS))
def test_a_cheat_is_found_in_its_time(tmp_path: Path, name: str) -> None:
    find(tmp_path, name, CHEATS[name])
