"""Which beacons are taken: of enrolled gateways, signed, of about now, each once."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.beacons import text
from collector.access import beacons
from collector.access.enrolment import device_name
from collector.store import Store, schema
from collector.store.queries import LastBeacon, last_beacon

NOW_MS = 1_795_000_000_000
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
KEY = Ed25519PrivateKey.generate()
DEVICE = device_name(KEY.public_key().public_bytes_raw())

ROW = {
    "device": DEVICE, "center": "LHR-1", "public_key": KEY.public_key().public_bytes_raw(), "enrolled_ms": 1,
    "hostname": "", "version": "",
}  # fmt: skip


def beacon(at_ms: int, key: Ed25519PrivateKey = KEY) -> text.Beacon:
    found = text.parse(text.make(DEVICE, at_ms // 1000, key.sign))
    assert found is not None
    return found


def test_a_beacon_counts_once_and_only_of_its_gateway_and_time(sqlite_store: Store) -> None:
    with sqlite_store.write() as conn:
        assert beacons.take(conn, beacon(NOW_MS), "line", NOW_MS) == "unknown"
        conn.execute(sa.insert(schema.devices).values(ROW))
        assert beacons.take(conn, beacon(NOW_MS, Ed25519PrivateKey.generate()), "line", NOW_MS) == "unsigned"
        assert beacons.take(conn, beacon(NOW_MS - 15 * HOUR_MS), "line", NOW_MS) == "time"
        assert beacons.take(conn, beacon(NOW_MS + 15 * HOUR_MS), "line", NOW_MS) == "time"
        assert last_beacon(conn, "LHR-1", 0) is None
        assert beacons.take(conn, beacon(NOW_MS), "sms", NOW_MS + MINUTE_MS) == "taken"
        assert beacons.take(conn, beacon(NOW_MS), "line", NOW_MS + 2 * MINUTE_MS) == "repeated"
        assert beacons.take(conn, beacon(NOW_MS - MINUTE_MS), "line", NOW_MS + 2 * MINUTE_MS) == "repeated"
        assert last_beacon(conn, "LHR-1", NOW_MS) == LastBeacon(DEVICE, NOW_MS + MINUTE_MS, None)
        assert last_beacon(conn, "LHR-1", NOW_MS + MINUTE_MS) is None
        assert beacons.take(conn, beacon(NOW_MS + MINUTE_MS), "line", NOW_MS + 2 * MINUTE_MS) == "taken"
        conn.execute(sa.update(schema.devices).values(revoked_ms=NOW_MS))
        assert beacons.take(conn, beacon(NOW_MS + 3 * MINUTE_MS), "line", NOW_MS + 3 * MINUTE_MS) == "unknown"


@pytest.mark.parametrize("off_ms", [-HOUR_MS - MINUTE_MS, HOUR_MS, 5 * HOUR_MS, -13 * HOUR_MS])
def test_a_gateway_whose_clock_is_wrong_is_alive_and_each_of_its_beacons_counts_once(
    sqlite_store: Store, off_ms: int
) -> None:
    with sqlite_store.write() as conn:
        conn.execute(sa.insert(schema.devices).values(ROW))
        assert beacons.take(conn, beacon(NOW_MS), "line", NOW_MS) == "taken"
        later_ms = NOW_MS + 2 * MINUTE_MS
        assert beacons.take(conn, beacon(later_ms + off_ms), "line", later_ms) == "clock"
        assert beacons.take(conn, beacon(later_ms + off_ms), "line", later_ms) == "repeated"
        assert last_beacon(conn, "LHR-1", NOW_MS) == LastBeacon(DEVICE, later_ms, off_ms // 1000)
        # Its clock is put right: what follows is not held up, and nothing of before is taken again.
        right_ms = later_ms + 2 * MINUTE_MS
        assert beacons.take(conn, beacon(right_ms), "line", right_ms) == "taken"
        assert beacons.take(conn, beacon(later_ms + off_ms), "line", right_ms) == "repeated"
        assert beacons.take(conn, beacon(NOW_MS), "line", right_ms) == "repeated"
        assert conn.scalar(sa.select(schema.beacons.c.off_s)) is None
