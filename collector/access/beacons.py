"""Beacons: gateways that say by a second path that they are alive, while their line gives no readings.

A beacon is worth one thing: it changes what is thought of the cause of a silence. It is no reading, counts as measured
nowhere and ends no silence.

A gateway that lost its clock with its power has nobody to set it while its line is down. Its beacons are taken as well,
within hours, and noted as such (`clock`). They have a sequence of their own: a clock that was ahead and is put right
does not hold up the beacons that follow.
"""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature

from agent.beacons.text import Beacon
from agent.common.keys import verifier
from agent.common.logs import Event
from collector.store import schema, upsert

MAX_AGE_MS, MAX_AHEAD_MS = 3_600_000, 300_000  # text messages may take long; clocks may be minutes apart
MAX_OFF_MS = 14 * 3_600_000  # as far as a clock is that was set to the local time of any zone (UTC+14)

Path = Literal["line", "sms"]
Outcome = Literal["taken", "clock", "unknown", "unsigned", "time", "repeated"]

TAKEN: frozenset[Outcome] = frozenset({"taken", "clock"})
CLOCK_WRONG = Event(
    __name__, "warning", "beacon_clock_wrong", "a gateway's second path is hours off in its time; it is alive, and "
    "its clock is wrong", key="device", fields="off_s",
)  # fmt: skip


_b, _d = schema.beacons.c, schema.devices.c


def judge(conn: sa.Connection, beacon: Beacon, now_ms: int) -> Outcome:
    """Whether it is to be taken, and why not: of a gateway that is none here or revoked, with a signature that is not
    its own, of a time that is not about now, or not later than the one before. ``clock``: it is taken, though its
    gateway's clock is wrong by hours."""
    gateway = conn.execute(sa.select(_d.public_key, _d.revoked_ms).where(_d.device == beacon.device)).first()
    if gateway is None or gateway.revoked_ms is not None:
        return "unknown"
    try:
        verifier(gateway.public_key).verify(beacon.signature, beacon.signed)
    except (InvalidSignature, ValueError):
        return "unsigned"
    old_ms = now_ms - beacon.at_s * 1000
    if abs(old_ms) > MAX_OFF_MS:
        return "time"
    is_right = -MAX_AHEAD_MS <= old_ms <= MAX_AGE_MS
    last_s = conn.scalar(sa.select(_b.at_s if is_right else _b.off_at_s).where(_b.device == beacon.device))
    if last_s is not None and beacon.at_s <= last_s:
        return "repeated"
    return "taken" if is_right else "clock"


def take(conn: sa.Connection, beacon: Beacon, path: Path, now_ms: int) -> Outcome:
    """Judges it, and keeps it as the gateway's last one."""
    outcome = judge(conn, beacon, now_ms)
    if outcome in TAKEN:
        center = conn.scalar(sa.select(_d.center).where(_d.device == beacon.device))
        row = conn.execute(sa.select(_b.at_s, _b.off_at_s).where(_b.device == beacon.device)).first()
        at_s, off_at_s = (row.at_s, row.off_at_s) if row else (0, None)
        off_s = beacon.at_s - now_ms // 1000 if outcome == "clock" else None
        if off_s is None:
            at_s = beacon.at_s
        else:
            off_at_s = beacon.at_s
            CLOCK_WRONG.log(device=beacon.device, off_s=off_s)
        facts = {"center": center, "received_ms": now_ms, "path": path}
        upsert(
            conn,
            schema.beacons,
            [{"device": beacon.device, "at_s": at_s, "off_at_s": off_at_s, "off_s": off_s, **facts}],
        )
    return outcome
