"""A center that was closed for 60 days: its certificate ran out, its readings wait. It renews with its known key and
loses none of them; one that was revoked meanwhile does not come back.
"""

from __future__ import annotations

import pytest

from agent.spool.queue import Spool
from agent.wire import GatewayReading, encode_reading
from collector.access import devices
from collector.store import schema
from tests.agent.uplink.test_renew import held, now_ms, stamp
from tests.faults.brokers import test_rollover
from tests.faults.brokers.test_rollover import READINGS, Gateway, Scene, told

scene = test_rollover.scene  # the fixture
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
DAYS = 60


def before_it_closed(gateway: Gateway, readings: int) -> None:
    spool = Spool(gateway.state / "spool.db", stamp=stamp)
    raws = [encode_reading(GatewayReading(at=stamp(), cpu_pct=number / 100)) for number in range(readings)]
    for first in range(0, readings, 100):
        spool.append(raws[first : first + 100], "high", now_ms())
    spool.close()


@pytest.mark.row(33)
def test_a_center_closed_for_60_days_renews_and_loses_nothing_and_a_revoked_one_stays_out(
    scene: Scene, torture: bool
) -> None:
    gateways = [scene.join(DAYS) for _ in range(60 if torture else 2)]
    stolen = [scene.join(DAYS) for _ in range(20 if torture else 1)]
    waiting = 1000 if torture else 200
    for gateway in scene.fleet:
        before_it_closed(gateway, waiting)
    scene.pass_days()
    with scene.house.store.write() as conn:
        for gateway in stolen:
            devices.revoke(conn, gateway.mine.device, "Ali", "stolen while it was closed", now_ms())
    expired = [held(gateway.state) for gateway in stolen]

    assert scene.deliver(gateways) == []
    told(f"closed for {DAYS} days", gateways)
    assert all(held(gateway.state).not_valid_after_utc.timestamp() * 1000 > now_ms() for gateway in gateways)
    refusals = scene.deliver(stolen)
    assert len(refusals) == len(stolen)
    assert all("was revoked" in why for why in refusals)
    assert [held(gateway.state) for gateway in stolen] == expired
    kept = scene.house.count(schema.readings["gateway"])
    promised = (waiting + READINGS) * len(gateways)
    print(f"{promised} readings promised, {promised - kept} lost or doubled; 3/n {3 / promised:.1e}")
    assert kept == promised
