"""Beacons: gateways that say by a second path that they are alive, while their line gives no readings.

A beacon is worth one thing: it changes what is thought of the cause of a silence. It is no reading, counts as measured
nowhere and ends no silence.
"""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature

from agent.beacons.text import Beacon
from agent.common.keys import verifier
from collector.store import schema, upsert

MAX_AGE_MS, MAX_AHEAD_MS = 3_600_000, 300_000  # text messages may take long; clocks may be minutes apart

Path = Literal["line", "sms"]
Outcome = Literal["taken", "unknown", "unsigned", "time", "repeated"]

_b, _d = schema.beacons.c, schema.devices.c


def judge(conn: sa.Connection, beacon: Beacon, now_ms: int) -> Outcome:
    """Whether it is to be taken, and why not: of a gateway that is none here or revoked, with a signature that is not
    its own, of a time that is not about now, or not later than the one before."""
    gateway = conn.execute(sa.select(_d.public_key, _d.revoked_ms).where(_d.device == beacon.device)).first()
    if gateway is None or gateway.revoked_ms is not None:
        return "unknown"
    try:
        verifier(gateway.public_key).verify(beacon.signature, beacon.signed)
    except (InvalidSignature, ValueError):
        return "unsigned"
    if not -MAX_AHEAD_MS <= now_ms - beacon.at_s * 1000 <= MAX_AGE_MS:
        return "time"
    last_s = conn.scalar(sa.select(_b.at_s).where(_b.device == beacon.device))
    return "repeated" if last_s is not None and beacon.at_s <= last_s else "taken"


def take(conn: sa.Connection, beacon: Beacon, path: Path, now_ms: int) -> Outcome:
    """Judges it, and keeps it as the gateway's last one."""
    outcome = judge(conn, beacon, now_ms)
    if outcome == "taken":
        center = conn.scalar(sa.select(_d.center).where(_d.device == beacon.device))
        facts = {"center": center, "at_s": beacon.at_s, "received_ms": now_ms, "path": path}
        upsert(conn, schema.beacons, [{"device": beacon.device, **facts}])
    return outcome
