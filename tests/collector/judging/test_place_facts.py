"""From where gateways were seen, as the database has it: sessions that last, enrolments, private addresses."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from agent import wire
from collector.judging import place_facts
from collector.judging.places import DAY_MS
from collector.register.networks import Network
from collector.store import Store, schema
from tests.collector.conftest import Gateway

NOW = 1_795_071_600_000
PTCL, OTHER = Network(17557, "PTCL"), Network(9541, "CYBERNET")
NETWORKS = {"9.9.9.9": PTCL, "8.8.8.8": OTHER}


def sight(store: Store, mine: Gateway, address: str, at_ms: int, source: str = "session") -> None:
    with store.write() as conn:
        place_facts.record_sightings(conn, source, [(mine.device, address)], at_ms, NETWORKS.get)


def machine(store: Store, mine: Gateway) -> None:
    at = wire.Stamp(wall_ms=NOW, mono_ms=1, boot="b", clock="synced")
    body = wire.encode_reading(wire.GatewayReading(at=at, machine="ab" * 8)).decode()
    row = {"center": mine.center, "device": mine.device, "kind": "gateway", "subject": ""}
    with store.write() as conn:
        conn.execute(sa.insert(schema.latest).values(**row, wall_ms=NOW, received_ms=NOW, body=body))


def place(store: Store, mine: Gateway) -> place_facts.NetworkPlace:
    with store.read() as conn:
        return next(one for one in place_facts.places(conn, NOW, {}) if one.device == mine.device)


def test_a_session_that_lasts_counts_however_long_ago_it_began(
    sqlite_store: Store, gateway: Callable[..., Gateway]
) -> None:
    mine = gateway(sqlite_store)
    machine(sqlite_store, mine)
    sight(sqlite_store, mine, "8.8.8.8", NOW - 50 * DAY_MS)
    sight(sqlite_store, mine, "9.9.9.9", NOW - 40 * DAY_MS)
    found = place(sqlite_store, mine)
    assert (found.session_asns, found.session_addresses) == ({PTCL.asn}, {"9.9.9.9"})
    assert found.earlier_asns == {PTCL.asn, OTHER.asn}


def test_an_address_of_a_private_network_and_of_an_unknown_gateway_is_not_kept(
    sqlite_store: Store, gateway: Callable[..., Gateway]
) -> None:
    mine = gateway(sqlite_store)
    for address in ("192.168.1.5", "127.0.0.1", "100.64.0.1", "no address", "9" * 60):
        sight(sqlite_store, mine, address, NOW)
    sight(sqlite_store, Gateway("KHI-1"), "9.9.9.9", NOW)
    with sqlite_store.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.sightings)) == 0


def test_a_gateway_that_was_enrolled_where_another_center_works_is_found(
    sqlite_store: Store, gateway: Callable[..., Gateway]
) -> None:
    mine, other = gateway(sqlite_store, "LHR-1"), gateway(sqlite_store, "LHR-2")
    for one in (mine, other):
        machine(sqlite_store, one)
        sight(sqlite_store, one, "9.9.9.9", NOW - DAY_MS, "enrolment")
    with sqlite_store.write() as conn:
        assert (
            place_facts.record(conn, place_facts.findings(conn, NOW, {}), NOW) == 2
        )  # one machine; an office where both were prepared is none
    sight(sqlite_store, other, "9.9.9.9", NOW)
    with sqlite_store.write() as conn:
        assert place_facts.record(conn, place_facts.findings(conn, NOW, {}), NOW) == 2
        found = {tuple(row) for row in conn.execute(sa.select(schema.integrity.c.center, schema.integrity.c.finding))}
    assert {("LHR-1", "shared_address"), ("LHR-2", "shared_address")} <= found
