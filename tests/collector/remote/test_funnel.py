"""From the register to complete readings, by province, and the gateways that need a hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import wire
from collector.ingest.transaction import Ingest
from collector.register import centers
from collector.remote import funnel
from collector.remote.funnel import DRIFT_MS, ENDING_MS, HEARD_MS, WAITING_READINGS
from collector.store import Store, schema
from tests.collector.conftest import NOW

ROW = {"name": "Johar Town", "tier": "one", "seats_promised": "20", "opening": "Mon-Sat 09:00-21:00"}
KINDS: dict[str, type[wire.Reading]] = {
    "link": wire.LinkReading, "speed": wire.SpeedReading, "ups": wire.UpsReading, "seats": wire.SeatsReading,
}  # fmt: skip


def readings(kinds: list[str], wall_ms: int = NOW, **gateway: Any) -> list[bytes]:
    at = wire.Stamp(wall_ms=wall_ms, mono_ms=wall_ms, boot="b", clock="synced")
    made: list[wire.Reading] = [KINDS[kind](at=at) for kind in kinds]
    made += [wire.GatewayReading(at=at, **gateway)] if gateway else []
    return [wire.encode_reading(reading) for reading in made]


def surveyed(store: Store, now_ms: int = NOW) -> funnel.Funnel:
    with store.read() as conn:
        return funnel.survey(conn, now_ms)


def test_each_center_is_counted_as_far_as_it_is(either_store: Store, gateway: Callable[..., Any]) -> None:
    take = Ingest(either_store, Ed25519PrivateKey.generate(), lambda *_: None).take
    with either_store.write() as conn:
        for code in ("A-1", "A-2", "A-3"):
            centers.add(conn, {"center": code, "province": "Sindh", **ROW}, NOW)
        centers.move(conn, "A-3", "closed", NOW, "Ayesha", "rent", ())
        token = {"token_hash": "x", "center": "A-2", "issued_ms": NOW, "expires_ms": NOW}
        conn.execute(sa.insert(schema.tokens).values(token))
    silent = gateway(either_store, "S-1", province="Punjab")
    partial = gateway(either_store, "P-1", province="Punjab")
    whole = gateway(either_store, "W-1", province="Punjab")
    long_ago_ms = NOW - HEARD_MS - 1
    take([silent.batch(readings(["link"], long_ago_ms))], long_ago_ms)
    take([partial.batch(readings(["link", "ups"]))], NOW)
    take([whole.batch(readings([*KINDS], version="0.3.0", spool_readings=3))], NOW)
    found = surveyed(either_store)
    assert {name: list(counts.values()) for name, counts in found.provinces.items()} == {
        "Sindh": [2, 1, 0, 0, 0, 0],
        "Punjab": [3, 3, 3, 2, 1, 1],
    }
    assert (found.total["registered"], found.versions, found.troubles) == (5, {"0.3.0": 1}, [])


def test_a_failed_measurement_completes_nothing(sqlite_store: Store, gateway: Callable[..., Any]) -> None:
    take = Ingest(sqlite_store, Ed25519PrivateKey.generate(), lambda *_: None).take
    made = gateway(sqlite_store)
    at = wire.Stamp(wall_ms=NOW, mono_ms=NOW, boot="b", clock="synced")
    failed = wire.encode_reading(wire.UpsReading(at=at, failure=wire.Failure("timeout", "no answer")))
    take([made.batch([*readings(["link", "speed", "seats"]), failed])], NOW)
    assert surveyed(sqlite_store).total["complete"] == 0


def test_clocks_certificates_and_spools_are_named(sqlite_store: Store, gateway: Callable[..., Any]) -> None:
    take = Ingest(sqlite_store, Ed25519PrivateKey.generate(), lambda *_: None).take
    made = gateway(sqlite_store)
    take([made.batch(readings(["link"], version="0.2.0", spool_readings=WAITING_READINGS + 1))], NOW - DRIFT_MS - 1000)
    with sqlite_store.write() as conn:
        for serial, end_ms in (("1", NOW - 1), ("2", NOW + ENDING_MS - 1000)):
            row = {"serial": serial, "device": made.device, "key_hash": "", "issued_ms": 0, "pem": ""}
            conn.execute(sa.insert(schema.certificates).values(row | {"expires_ms": end_ms}))
    found = {trouble.kind: trouble.value for trouble in surveyed(sqlite_store).troubles}
    assert found == {
        "drift": DRIFT_MS + 1000,
        "certificate": ENDING_MS - 1000,
        "spool": WAITING_READINGS + 1,
    }
